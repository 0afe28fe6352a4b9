package shard

import (
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// configs remembers the committed configurations of the shard, so that a snapshot of the
// state at an index can be sent with the configuration of that index.
type configs struct {
	mu   sync.Mutex
	list []indexedConfig // guarded by mu; indexes rise, never empty once set
}

type indexedConfig struct {
	index uint64
	raft.Configuration
}

// has reports whether a node has a replica in c.
func (c indexedConfig) has(node string) bool {
	return slices.ContainsFunc(c.Servers, func(s raft.Server) bool { return string(s.ID) == node })
}

// set replaces the whole list by one configuration.
func (c *configs) set(index uint64, conf raft.Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = []indexedConfig{{index, conf.Clone()}}
}

// add notes the committed configuration of the record at index.
func (c *configs) add(index uint64, conf raft.Configuration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 && c.list[n-1].index >= index {
		return // seen before a restart of Raft
	}
	c.list = append(c.list, indexedConfig{index, conf})
}

// at returns the configuration that held at index.
func (c *configs) at(index uint64) (indexedConfig, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.list) {
		if v.index <= index {
			return v, true
		}
	}
	return indexedConfig{}, false
}

// forgetBefore drops the configurations that no snapshot will need, because no state
// older than index is sent any more. The one that held at index stays.
func (c *configs) forgetBefore(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n+1 < len(c.list) && c.list[n+1].index <= index {
		n++
	}
	c.list = append([]indexedConfig(nil), c.list[n:]...)
}

// last returns the newest configuration.
func (c *configs) last() indexedConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return indexedConfig{}
	}
	return c.list[len(c.list)-1]
}
