package watcher

import (
	"errors"
	"testing"
	"testing/synctest"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// What is certain to fail is refused before anything starts.
func TestNewRefusesDeadClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		closed := server.Client()
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		nowhere := server.Client()
		nowhere.SetEndpoints()
		for name, client := range map[string]*clientv3.Client{"none": nil, "closed": closed, "without endpoints": nowhere} {
			if w, err := New(client, Config{}); w != nil || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
	})
}
