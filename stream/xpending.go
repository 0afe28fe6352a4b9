package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// XPENDING key group [[IDLE min-idle-ms] start end count [consumer]]: describes the pending
// entries of the group. With the key and the group alone it answers a summary, and otherwise
// the entries from start to end.
var xpending = Command{
	Command: command.Command{
		Name: "xpending", Arity: -3, Flags: command.ReadOnly, Keys: command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Tips:  []string{"nondeterministic_output"},
		Usage: "key group filters:[[IDLE min-idle-time:int] start end count:int [consumer]]",
		History: []string{
			"6.2.0 `IDLE` is new, and a `(` before an ID leaves that ID out.",
		},
		Categories: []string{"read", "stream", "slow"}, Since: "5.0.0", Group: "stream",
		Summary: "Counts or lists the entries that a group has not acknowledged.",
		Complexity: "O(N) for N consumers in a summary, or N entries in a list. With IDLE, N also counts " +
			"the entries that are looked at and left out.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseXPending(argv)
			return refusal
		},
	},
	Run: runXPending,
}

// pendingArgs holds the arguments of XPENDING after the group.
type pendingArgs struct {
	summary   bool
	minIdleMS int64
	from, to  ID
	count     int64
	consumer  []byte
	byOne     bool // only entries of consumer
}

func parseXPending(argv [][]byte) (a pendingArgs, refusal *resp.Value) {
	n := len(argv)
	if n == 3 {
		return pendingArgs{summary: true}, nil
	}
	if n < 6 || n > 9 {
		return a, &command.ErrSyntax
	}
	i := 3
	if command.IsWord(argv[3], "IDLE") {
		var ok bool
		if a.minIdleMS, ok = command.ParseInt(argv[4]); !ok {
			return a, &command.ErrNotInteger
		}
		if n < 8 {
			return a, &command.ErrSyntax
		}
		i = 5
	}
	count, ok := command.ParseInt(argv[i+2])
	if !ok {
		return a, &command.ErrNotInteger
	}
	a.count = max(count, 0)
	if a.from, refusal = parseStart(argv[i]); refusal != nil {
		return a, refusal
	}
	if a.to, refusal = parseEnd(argv[i+1]); refusal != nil {
		return a, refusal
	}
	if i+3 < n { // words after the consumer are ignored, as in Redis
		a.consumer, a.byOne = argv[i+3], true
	}
	return a, nil
}

func runXPending(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseXPending(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, g, refusal, err := tx.streamGroup(argv[1], argv[2])
	switch {
	case err != nil:
		return resp.Value{}, err
	case refusal != nil:
		return *refusal, nil
	case g == nil:
		return *noGroup(argv[1], argv[2]), nil
	case a.summary:
		return tx.pendingSummary(h, g)
	}
	return tx.pendingDetails(h, g, &a)
}

// pendingSummary returns [count, least ID, greatest ID, [[consumer, count], …]].
func (tx *Tx) pendingSummary(h *Head, g *group) (resp.Value, error) {
	if g.pending == 0 {
		return resp.Array(resp.Int(0), resp.Null(), resp.Null(), resp.NullArray()), nil
	}
	first, last, err := tx.pendingEnds(h, g)
	if err != nil {
		return resp.Value{}, err
	}
	consumers, err := tx.listConsumers(h, g)
	if err != nil {
		return resp.Value{}, err
	}
	var owners []resp.Value
	for _, c := range consumers {
		if c.pending > 0 {
			owners = append(owners, resp.Array(resp.Bulk(c.name), resp.Bulk(strconv.AppendUint(nil, c.pending, 10))))
		}
	}
	return resp.Array(resp.Int(int64(g.pending)), idValue(first), idValue(last), resp.Array(owners...)), nil
}

// pendingDetails returns [[id, consumer, idle, deliveries], …].
func (tx *Tx) pendingDetails(h *Head, g *group, a *pendingArgs) (resp.Value, error) {
	var rows []resp.Value
	row := func(id ID, p pendingEntry) (bool, error) {
		name, err := tx.ownerName(h, g, p)
		if err != nil {
			return false, err
		}
		rows = append(rows, resp.Array(idValue(id), resp.Bulk(name), resp.Int(p.idleMS(tx.NowMS)), resp.Int(int64(p.deliveries))))
		return int64(len(rows)) < a.count, nil
	}
	if a.count == 0 {
		return resp.Array(), nil
	}
	var c *consumer
	if a.byOne {
		var err error
		if c, err = tx.consumer(h, g, a.consumer); err != nil || c == nil {
			return resp.Array(), err
		}
	}
	var err error
	switch {
	case a.minIdleMS > 0:
		err = tx.eachIdle(h, g, c, a, row)
	case c != nil:
		err = tx.eachOwned(h, g, c, a.from, a.to, row)
	default:
		err = tx.eachPending(h, g, a.from, a.to, row)
	}
	return resp.Array(rows...), err
}

// ownerName returns the name of p's owner, or nil for a released entry.
func (tx *Tx) ownerName(h *Head, g *group, p pendingEntry) ([]byte, error) {
	if p.cid == 0 {
		return nil, nil
	}
	c, err := tx.consumerByCID(h, g, p.cid)
	if err != nil {
		return nil, err
	}
	return c.name, nil
}
