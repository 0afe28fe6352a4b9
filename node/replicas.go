package node

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"millrace/call"
	"millrace/placement"
	"millrace/resp"
	"millrace/shard"
)

// replicas is the set of this node's running replicas. Every command looks its replica up
// here, so the look-up takes no lock. The methods with capitals answer requests, from
// delivery and from other nodes.
type replicas struct {
	byID atomic.Pointer[map[uint32]*shard.Shard] // replaced as a whole, never changed
	mu   sync.Mutex                              // held while byID is replaced

	space *space // nil: never refuse a call for lack of room
}

func newReplicas() *replicas {
	r := &replicas{}
	r.byID.Store(&map[uint32]*shard.Shard{})
	return r
}

// get returns this node's replica of a shard, or nil.
func (r *replicas) get(id uint32) *shard.Shard { return (*r.byID.Load())[id] }

// all returns every replica by its shard's ID. The map must not be changed.
func (r *replicas) all() map[uint32]*shard.Shard { return *r.byID.Load() }

// put adds a replica, or removes the shard's replica if s is nil.
func (r *replicas) put(id uint32, s *shard.Shard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[uint32]*shard.Shard, len(*r.byID.Load())+1)
	maps.Copy(m, *r.byID.Load())
	if s == nil {
		delete(m, id)
	} else {
		m[id] = s
	}
	r.byID.Store(&m)
}

// Submit implements call.Backend: it hands c to this node's replica of c.Shard. It
// answers call.ErrNoShard if there is none.
func (r *replicas) Submit(c *call.Call) {
	s := r.get(c.Shard)
	if s == nil {
		c.Done(call.Result{Err: call.ErrNoShard})
		return
	}
	if c.Shard == placement.MetaShard && c.Kind == call.Write {
		// A node of a newer version may send a command that this version does not know. In
		// the log it would halt every replica of this version, so it is refused here.
		for _, argv := range c.Cmds {
			if refusal, ok := placement.Check(argv); !ok {
				c.Done(call.Result{Reply: resp.AppendValue(nil, refusal, int(c.Proto))})
				return
			}
		}
	}
	if r.space != nil && r.space.refuses(c) {
		c.Done(call.Result{Err: call.ErrNoSpace})
		return
	}
	s.Submit(c)
}

// Cancel implements call.Backend.
func (r *replicas) Cancel(c *call.Call) {
	if s := r.get(c.Shard); s != nil {
		s.Cancel(c)
	}
}

// Probe implements a part of peer.Handler.
func (r *replicas) Probe(id uint32) call.Probe {
	s := r.get(id)
	if s == nil {
		return call.Probe{}
	}
	return s.Probe()
}

// close closes all replicas in parallel, because each one waits for its work under way.
func (r *replicas) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, s := range *r.byID.Load() {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.byID.Store(&map[uint32]*shard.Shard{})
	return errors.Join(errs...)
}
