package main

// A task is something that is done while its owner goes on. The owner must wait for it in the end.
type task struct {
	done chan struct{}
	err  error // after done
}

func inBackground(do func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = do()
	}()
	return t
}

// over says whether it is done, without waiting.
func (t *task) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// wait waits for the end and gives its error.
func (t *task) wait() error {
	<-t.done
	return t.err
}
