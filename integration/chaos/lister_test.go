//go:build linux

package chaos

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

const (
	listEvery = 200 * time.Millisecond
	listLimit = 2 * time.Second
)

// list asks for the list again and again until the context ends. What is not answered is not recorded: an unreachable etcd says
// nothing.
func list(ctx context.Context, client *clientv3.Client, rec *history.Recorder) {
	ticker := time.NewTicker(listEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		_, _ = listOnce(ctx, client, rec)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func listOnce(ctx context.Context, client *clientv3.Client, rec *history.Recorder) (*registry.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	at := history.Now()
	snap, err := registry.List(ctx, client, registry.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := history.Record{Kind: history.Listed, At: at, Until: history.Now(), Revision: snap.Revision, Rows: []history.Row{}}
	for i := range snap.Services {
		out.Rows = append(out.Rows, history.RowOf(&snap.Services[i]))
	}
	rec.Record(out)
	return snap, nil
}
