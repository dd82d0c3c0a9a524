//go:build unix

package etcdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	etcdPackage   = "go.etcd.io/etcd/server/v3"
	nodeTimeout   = 60 * time.Second // to get healthy, on a machine that is busy
	stopGrace     = 10 * time.Second // from SIGTERM to SIGKILL
	launchTries   = 5
	logTail       = 16 << 10 // bytes of a node's log shown when a test fails
	firstPort     = 20000    // ports below those that the kernel gives to clients
	lastPort      = 32000
	bindComplaint = "address already in use"
)

// Nodes is an etcd cluster of one process each, with etcd's default settings but for
// fsync, which is off: the machine under a killed process lives on.
type Nodes struct {
	t     testing.TB
	Nodes []*Node

	mu      sync.Mutex
	clients []*Client
}

// A Node is one etcd process. Its address and its data outlive the process.
type Node struct {
	t      testing.TB
	name   string
	dir    string
	args   []string
	client string // HOST:PORT for clients
	peer   string // HOST:PORT for other nodes

	cmd    *exec.Cmd // nil when there is no process
	exited chan struct{}
}

// Standalone starts a cluster of one process. Args are added to etcd's command line.
func Standalone(t testing.TB, args ...string) *Nodes {
	t.Helper()
	return StandaloneCluster(t, 1, args...)
}

// StandaloneCluster starts a cluster of n processes and returns when every one is
// healthy. Args are added to the command line of each, with {client} in them replaced by
// the HOST:PORT at which the node listens for clients, and come last: a test of slow disks
// passes --unsafe-no-fsync=false. They are killed at the end of t,
// and when t has failed the end of their logs is shown. The test is skipped in short
// mode.
func StandaloneCluster(t testing.TB, n int, args ...string) *Nodes {
	t.Helper()
	return StandaloneClusterVia(t, n, nil, args...)
}

// StandaloneClusterVia is StandaloneCluster with something between the nodes: via is
// told the HOST:PORT where a node listens for the others, and gives the one that they
// are to use instead.
func StandaloneClusterVia(t testing.TB, n int, via func(i int, peer string) string, args ...string) *Nodes {
	t.Helper()
	return standalone(t, "", n, via, args)
}

// StandaloneOf is StandaloneCluster with another etcd program, such as one of an older
// version. Node.Program changes it for the next process of a node.
func StandaloneOf(t testing.TB, program string, n int, args ...string) *Nodes {
	t.Helper()
	return standalone(t, program, n, nil, args)
}

// standalone starts a cluster of the program, or of the one that is built from the module.
func standalone(t testing.TB, program string, n int, via func(i int, peer string) string, args []string) *Nodes {
	t.Helper()
	if testing.Short() {
		t.Skip("etcdtest: starts processes")
	}
	if program == "" {
		program = Binary(t, etcdPackage)
	}
	c := &Nodes{t: t}
	dir := t.TempDir()
	t.Cleanup(c.close)
	for try := 1; ; try++ {
		c.Nodes = plan(t, program, filepath.Join(dir, fmt.Sprint(try)), n, via, args)
		err := c.launch()
		if err == nil {
			return c
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try == launchTries {
			t.Fatalf("etcdtest: start etcd: %v", err)
		}
		c.kill()
	}
}

// plan lays out n nodes, with ports that are free now.
func plan(t testing.TB, program, dir string, n int, via func(int, string) string, args []string) []*Node {
	t.Helper()
	addresses := FreeAddresses(t, 2*n)
	nodes := make([]*Node, n)
	var members, known []string
	for i := range nodes {
		nodes[i] = &Node{
			t:      t,
			name:   fmt.Sprintf("node%d", i),
			dir:    filepath.Join(dir, fmt.Sprintf("node%d", i)),
			client: addresses[2*i],
			peer:   addresses[2*i+1],
		}
		known = append(known, nodes[i].peer)
		if via != nil {
			known[i] = via(i, nodes[i].peer)
		}
		members = append(members, nodes[i].name+"=http://"+known[i])
	}
	for i, node := range nodes {
		node.args = commandLine(node, program, known[i], members, args)
	}
	return nodes
}

func commandLine(node *Node, program, known string, members, args []string) []string {
	line := []string{
		program,
		"--name=" + node.name,
		"--data-dir=" + node.DataDir(),
		"--listen-client-urls=http://" + node.client,
		"--advertise-client-urls=http://" + node.client,
		"--listen-peer-urls=http://" + node.peer,
		"--initial-advertise-peer-urls=http://" + known,
		"--initial-cluster=" + strings.Join(members, ","),
		"--unsafe-no-fsync",
		"--log-outputs=stderr",
	}
	for _, arg := range args {
		line = append(line, strings.ReplaceAll(arg, "{client}", node.client))
	}
	return line
}

// launch starts every node for the first time. The error is EADDRINUSE when a port was
// taken meanwhile.
func (c *Nodes) launch() error {
	for _, node := range c.Nodes {
		if err := os.MkdirAll(node.dir, 0o700); err != nil {
			return err
		}
		if err := node.start(); err != nil {
			return err
		}
	}
	for _, node := range c.Nodes {
		err := node.waitHealthy()
		if err == nil {
			continue
		}
		for _, node := range c.Nodes {
			if log, _ := os.ReadFile(node.log()); bytes.Contains(log, []byte(bindComplaint)) {
				return syscall.EADDRINUSE
			}
		}
		return err
	}
	return nil
}

func (c *Nodes) close() {
	c.mu.Lock()
	clients := c.clients
	c.clients = nil
	c.mu.Unlock()
	for _, client := range clients {
		client.shut()
	}
	c.kill()
	if c.t.Failed() {
		for _, node := range c.Nodes {
			c.t.Logf("end of the log of %s (%s):\n%s", node.name, node.client, tail(node.log()))
		}
	}
}

func (c *Nodes) kill() {
	for _, node := range c.Nodes {
		node.Kill()
	}
}

// Endpoints are the URLs of all nodes, running or not.
func (c *Nodes) Endpoints() []string {
	endpoints := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		endpoints[i] = node.Endpoint()
	}
	return endpoints
}

// Client returns a new client of all nodes.
func (c *Nodes) Client() *clientv3.Client {
	c.t.Helper()
	return c.NewClient().Client
}

// NewClient returns a new client of the given nodes, or of all when none is given, with
// a Gate of its own. The client is closed at the end of the test.
func (c *Nodes) NewClient(nodes ...*Node) *Client {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.Nodes
	}
	var endpoints []string
	for _, node := range nodes {
		endpoints = append(endpoints, node.Endpoint())
	}
	client := newClient(c.t, endpoints, overTCP)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, client)
	return client
}

// Leader waits until a node leads and returns it. Only the nodes that answer are asked.
func (c *Nodes) Leader() *Node {
	c.t.Helper()
	client := c.NewClient()
	defer client.shut()
	for deadline := time.Now().Add(nodeTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, node := range c.Nodes {
			if node.leads(client.Client) {
				return node
			}
		}
	}
	c.t.Fatal("etcdtest: no leader in time")
	return nil
}

// Followers are the nodes that do not lead, running or not.
func (c *Nodes) Followers() []*Node {
	c.t.Helper()
	leader := c.Leader()
	var followers []*Node
	for _, node := range c.Nodes {
		if node != leader {
			followers = append(followers, node)
		}
	}
	return followers
}

// Compact drops the history before the given revision, or before the present one when
// it is 0, and waits until it is gone.
func (c *Nodes) Compact(revision int64) {
	c.t.Helper()
	compact(c.t, c.Client(), revision)
}

// Endpoint is the URL for clients. It stays the same from one process to the next.
func (n *Node) Endpoint() string { return "http://" + n.client }

// DataDir is where the node keeps its data, unless its args say otherwise.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "data") }

// Program makes the next process of the node one of another program.
func (n *Node) Program(program string) { n.args[0] = program }

// PID is the id of the process, 0 if there is none.
func (n *Node) PID() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Start starts a process for the node, on the data of the last one. It does not wait
// until the node serves: without a quorum it never would.
func (n *Node) Start() {
	n.t.Helper()
	if err := n.start(); err != nil {
		n.t.Fatalf("etcdtest: start %s: %v", n.name, err)
	}
}

// Restart kills the node's process if there is one, starts another and waits until it
// is healthy.
func (n *Node) Restart() {
	n.t.Helper()
	n.Kill()
	n.Start()
	n.WaitHealthy()
}

// WaitHealthy waits until the node serves and knows a leader.
func (n *Node) WaitHealthy() {
	n.t.Helper()
	if err := n.waitHealthy(); err != nil {
		n.t.Fatalf("etcdtest: %v", err)
	}
}

// Kill ends the process with SIGKILL, frozen or not, and waits for its end. The
// machine answers for its port from then on: connections are refused.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop ends the process with SIGTERM: it hands its lead over and closes its data.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

// Freeze stops the process with SIGSTOP. It keeps its connections and takes new ones,
// and answers nobody.
func (n *Node) Freeze() {
	n.t.Helper()
	n.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(time.Second); !stopped(n.PID()) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// Thaw lets a frozen process go on, with SIGCONT.
func (n *Node) Thaw() {
	n.t.Helper()
	n.signal(syscall.SIGCONT)
}

func (n *Node) signal(sig syscall.Signal) {
	n.t.Helper()
	if n.cmd == nil {
		n.t.Fatalf("etcdtest: %s has no process to send %v", n.name, sig)
	}
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("etcdtest: send %v to %s: %v", sig, n.name, err)
	}
}

func (n *Node) start() error {
	if n.cmd != nil {
		return errors.New("it has a process already")
	}
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(n.args[0], n.args[1:]...)
	cmd.Dir = n.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ETCD_") { // etcd takes settings from there
			cmd.Env = append(cmd.Env, variable)
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}()
	n.cmd, n.exited = cmd, exited
	return nil
}

// end sends a signal and waits for the end of the process. Nothing is done when there
// is none.
func (n *Node) end(sig syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(sig) // fails when it has ended by itself
	select {
	case <-n.exited:
	case <-time.After(stopGrace):
		_ = n.cmd.Process.Kill()
		<-n.exited
	}
	n.cmd = nil
}

func (n *Node) waitHealthy() error {
	ctx, cancel := context.WithTimeout(context.Background(), nodeTimeout)
	defer cancel()
	for !n.healthy(ctx) {
		select {
		case <-n.exited:
			return fmt.Errorf("%s has ended by itself:\n%s", n.name, tail(n.log()))
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy after %v", n.name, nodeTimeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// healthy asks the node whether it can read at the cluster's present state.
func (n *Node) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Endpoint()+"/health", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

func (n *Node) leads(client *clientv3.Client) bool {
	if n.cmd == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := client.Status(ctx, n.Endpoint())
	return err == nil && status.Leader == status.Header.MemberId
}

func (n *Node) log() string { return filepath.Join(n.dir, "log") }

// tail is the end of a log file.
func tail(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > logTail {
		_, _ = f.Seek(-logTail, io.SeekEnd)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// FreeAddresses finds loopback addresses that nobody listens on. They lie below the
// range from which the kernel takes the ports of outgoing connections: a client that
// dials a killed node again and again would end up talking to itself.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var addresses []string
	for tries := 0; len(addresses) < n; tries++ {
		if tries == 1000 {
			t.Fatal("etcdtest: no free ports")
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // held until all are found, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}
