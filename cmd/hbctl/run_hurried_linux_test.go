package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Who can't wait for etcd to be told is not told that etcd did not answer in a time that has not passed.
func TestRunIsHurried(t *testing.T) {
	t.Parallel()
	address, freeze := freezable(t)
	r := startProgram(t, []string{"HBCTL_ENDPOINTS=" + address}, "run", "--binary", "b", "--host", "h", "--command-timeout", "10m", "--", "sleep", "1000")
	if !poll(func() bool { return strings.Contains(r.said(), `"registered"`) }) {
		t.Fatalf("it does not register: %s", r.said())
	}
	freeze()
	r.endWith(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM})
	r.wants(t, 128+int(syscall.SIGTERM))
	if text := r.said(); !strings.Contains(text, "a further signal came before etcd was told that b/h left; it is up there until its TTL") {
		t.Errorf("said %s", text)
	}
}

// What still waits for its name when etcd goes away and it is stopped never claims that the name is up by it.
func TestRunIsHurriedBeforeItIsRegistered(t *testing.T) {
	t.Parallel()
	address, freeze := freezable(t)
	_, client := etcd(t)
	w := &world{t: t, client: client, prefix: prefixOf(t)}
	w.alive("b/h")               // by a live lease of another
	const ttl = 59 * time.Minute // by which its lease is known
	before := granted(t, client, ttl)
	r := startProgram(t, []string{"HBCTL_ENDPOINTS=" + address}, "run", "--binary", "b", "--host", "h", "--ttl", ttl.String(), "--register-timeout", "10m", "--command-timeout", "10m", "--", "sleep", "1000")
	if !poll(func() bool { return granted(t, client, ttl) > before }) {
		t.Fatalf("it has no lease: %s", r.said())
	}
	freeze()
	r.endWith(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM})
	r.wants(t, 128+int(syscall.SIGTERM))
	if text := r.said(); strings.Contains(text, "left") || strings.Contains(text, "is up there") {
		t.Errorf("it was never registered, and said %s", text)
	}
}

// granted counts the leases of that TTL.
func granted(t *testing.T, client *clientv3.Client, ttl time.Duration) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := client.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range resp.Leases {
		if answer, err := client.TimeToLive(ctx, l.ID); err == nil && answer.GrantedTTL == int64(ttl/time.Second) {
			n++
		}
	}
	return n
}

func (r *running) said() string {
	text, _ := os.ReadFile(r.err.Name())
	return string(text)
}
