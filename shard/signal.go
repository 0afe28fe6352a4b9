package shard

// signal wakes the goroutine that receives from it. Signals sent before that goroutine
// looks count as one, so sending never blocks.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default: // one is on its way already
	}
}
