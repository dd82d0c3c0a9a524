package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hbctl/hbctl/registry"
)

// Whoever registers while the Registry is being closed does the work of its loop: never beside Close, and never after it.
func TestRegisterWhileClosing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for round := range 20 {
			p := r.process(t)
			var running, warm sync.WaitGroup
			warm.Add(8)
			for i := range 8 {
				running.Go(func() {
					for n := 0; ; n++ {
						in := registry.Instance{Name: registry.Name{Binary: "vol", Host: fmt.Sprintf("node%d.%d.%d", round, i, n)}}
						if _, err := p.Register(t.Context(), in); err != nil {
							if !errors.Is(err, registry.ErrClosed) {
								t.Error(err)
							}
							return
						}
						if n == 2 {
							warm.Done()
						}
					}
				})
			}
			warm.Wait()
			is(t, p.Close(ended), registry.ErrLeaving)
			running.Wait()
		}
	})
}
