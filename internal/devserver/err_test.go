package devserver

import (
	"errors"
	"testing"
	"time"
)

func TestErr(t *testing.T) {
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s.etcd.Server.HardStop() // as it does by itself when its disk fails
	select {
	case err := <-s.Err():
		if !errors.Is(err, ErrStopped) {
			t.Errorf("Err delivered %v, want ErrStopped", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
