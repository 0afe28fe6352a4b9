package router

import (
	"errors"

	"millrace/call"
)

// A route leads to the leader of one shard, for one lane or one errand. It holds the rules
// for a call that was refused, which are the same for both:
//
//   - A call that was not done is sent again: at once when a newer leader is known,
//     otherwise after a search (see seeker).
//   - A call whose outcome is unknown is never sent again. judge decides which it is.
//
// Only a lane also keeps the order of its calls. The owner's lock guards a route.
type route struct {
	r     *Router
	shard uint32

	node string // where calls are sent
	term uint64 // the term in which node is believed to lead; zero: no leader is known
	hops int    // refusals in a row that were followed by another leader or a search
}

// maxHops is how many refusals in a row may be followed by another try at once. After
// that the route searches, which includes a pause, so that two replicas that name each
// other as the leader cannot make it spin.
const maxHops = 4

// refresh takes the believed leader if it leads in a later term than the route's.
func (t *route) refresh() bool {
	node, term := t.r.leader(t.shard)
	if term <= t.term {
		return false
	}
	t.node, t.term = node, term
	return true
}

// follow reports whether a call that was refused because of why can be sent again at once:
// the refusal came from a replica that does not lead, and a newer leader is known. The
// route then leads to that one.
func (t *route) follow(why error) bool {
	var moved *call.NotLeader
	if !errors.As(why, &moved) || t.hops >= maxHops || !t.refresh() {
		return false
	}
	t.hops++
	return true
}

// newSearch returns a search for another leader than the one that refused because of why,
// or for the time when that one may be tried again. The caller sets found and begins it.
func (t *route) newSearch(why error, deadline int64) *search {
	t.hops++
	return &search{node: t.node, term: t.term, hops: t.hops, overload: busy(why), deadline: deadline}
}

// begin hands s to the shard's seeker.
func (t *route) begin(s *search) { t.r.seeker(t.shard).add(s) }
