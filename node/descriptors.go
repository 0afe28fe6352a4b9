package node

import (
	"fmt"
	"syscall"
)

// descriptors is how a process divides its file descriptors. Clients get what the rest
// leaves, so that no number of connections takes a descriptor from the disk or from the
// other nodes.
//
//	limit              200   1,024   4,096   65,536
//	fixed               64      64      64       64  listeners, WALs, manifests, snapshots
//	tables              25     128     512    2,000  sstables kept open, of both databases
//	peers               16      32     128      128  connections to other nodes, both ways
//	handshakes           8      32     128      128  of nodes that have proved nothing yet
//	http                 8      32     128      128
//	gossip               8      16      32       32  streams of other nodes
//	clients             71     720   3,104   63,056
type descriptors struct {
	tables, handshakes, http, gossip, clients int
}

// fixedDescriptors are for files and sockets whose number does not depend on the limit.
const fixedDescriptors = 64

// minDescriptors is the least limit with which a node starts.
const minDescriptors = 160

// divideDescriptors divides limit. It fails if the limit is too low to work with.
func divideDescriptors(limit int) (descriptors, error) {
	if limit < minDescriptors {
		return descriptors{}, fmt.Errorf("%w: the process may have %d files open, and needs %d: raise the limit (ulimit -n, LimitNOFILE=)",
			ErrConfig, limit, minDescriptors)
	}
	within := func(n, low, high int) int { return min(max(n, low), high) }
	d := descriptors{
		tables:     within(limit/8, 16, 2000),
		handshakes: within(limit/32, 8, 128),
		http:       within(limit/32, 8, 128),
		gossip:     within(limit/64, 8, 32),
	}
	peers := within(limit/32, 16, 128)
	d.clients = limit - fixedDescriptors - d.tables - peers - d.handshakes - d.http - d.gossip
	return d, nil
}

// descriptorLimit returns how many files the process may have open. Go has raised the soft
// limit to the hard one at the start of the process.
func descriptorLimit() (int, error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return int(min(r.Cur, 1<<20)), nil
}
