//go:build linux

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// roleVariable makes a process of the test binary an actor.
const roleVariable = "HBCTL_CHAOS_ROLE"

// role says what a process is to do.
type role struct {
	Source    string   // of its records
	History   string   // the file they go to
	Endpoints []string // of its proxy
	Holder    *holderPlan
	Readers   []readerPlan
}

func TestMain(m *testing.M) {
	if text := os.Getenv(roleVariable); text != "" {
		if err := play(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	defer etcdtest.Alone()()
	goleak.VerifyTestMain(m)
}

// play is an actor's life, from its start to a SIGTERM.
func play(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	out, err := os.OpenFile(r.History, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	rec := history.NewRecorder(out, r.Source)
	rec.Record(history.Record{Kind: history.Started, PID: os.Getpid()})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	orders := make(chan order)
	go takeOrders(orders) // until the process ends

	if r.Holder != nil {
		err = hold(ctx, &r, rec, orders)
	} else {
		err = read(ctx, &r, rec, orders)
	}
	if err != nil {
		return err
	}
	rec.Record(history.Record{Kind: history.Exited, Leaks: leaks()})
	return rec.Err()
}

// order is what the injector tells an actor on its stdin, a line of JSON each.
type order struct {
	Do   deed
	Name int // of the plan's names
	For  time.Duration
	Plan *namePlan // of a name that is none of its own
}

func takeOrders(orders chan<- order) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) == nil {
			orders <- o
		}
	}
}

// dial makes the client of an actor, which knows etcd through its proxy alone.
func dial(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: lease.DialOptions(0),
	})
}

// leaks counts goroutines of the libraries. After everything was closed there are none.
func leaks() int {
	buffer := make([]byte, 4<<20)
	n := 0
	for _, stack := range strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		for _, library := range []string{"hbctl/lease.", "hbctl/registry.", "hbctl/watcher."} {
			if strings.Contains(stack, library) {
				n++
				break
			}
		}
	}
	return n
}
