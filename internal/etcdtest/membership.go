//go:build unix

package etcdtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Add adds a node to the cluster, with the program and the args of the first, and returns when it is healthy. Clients that were
// made before don't know of it.
func (c *Nodes) Add(args ...string) *Node {
	c.t.Helper()
	first := c.Nodes[0]
	addresses := FreeAddresses(c.t, 2)
	node := &Node{t: c.t, name: fmt.Sprintf("node%d", len(c.Nodes)), client: addresses[0], peer: addresses[1]}
	node.dir = filepath.Join(filepath.Dir(first.dir), node.name+"-"+filepath.Base(c.t.TempDir()))
	if err := os.MkdirAll(node.dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	var members []string
	c.manage(func(ctx context.Context, client *clientv3.Client) error {
		added, err := client.MemberAdd(ctx, []string{"http://" + node.peer})
		if err != nil {
			return err
		}
		for _, m := range added.Members {
			name := m.Name
			if m.ID == added.Member.ID {
				name = node.name
			}
			members = append(members, name+"="+m.PeerURLs[0])
		}
		return nil
	})
	node.args = commandLine(node, first.args[0], node.peer, members, append([]string{"--initial-cluster-state=existing"}, args...))
	c.Nodes = append(c.Nodes, node)
	node.Start()
	node.WaitHealthy()
	return node
}

// Remove takes the node out of the cluster and kills its process.
func (c *Nodes) Remove(node *Node) {
	c.t.Helper()
	c.Nodes = slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return n == node })
	c.manage(func(ctx context.Context, client *clientv3.Client) error {
		list, err := client.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.Name == node.name {
				_, err := client.MemberRemove(ctx, m.ID)
				return err
			}
		}
		return fmt.Errorf("no member is called %s", node.name)
	})
	node.Kill()
}

// manage changes the membership, on the nodes that stay. etcd refuses it as unhealthy until new members have been connected for a
// while, so it is tried again.
func (c *Nodes) manage(change func(context.Context, *clientv3.Client) error) {
	c.t.Helper()
	client := c.NewClient()
	defer client.shut()
	ctx, cancel := context.WithTimeout(context.Background(), nodeTimeout)
	defer cancel()
	for {
		err := change(ctx, client.Client)
		if err == nil {
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("etcdtest: change the membership: %v", err)
		}
	}
}
