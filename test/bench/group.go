package bench

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"millrace/resp"
)

const (
	groupName = "bench"
	// readStreams is how many streams one XREADGROUP names at most; a consumer of
	// more takes them in turn.
	readStreams = 32
	// blockMS is how long a read waits for entries. A consumer notices the end of the
	// run after it at the latest.
	blockMS = "200"
	// refusedPause is how long a consumer waits after a refusal.
	refusedPause = 100 * time.Millisecond
	// drainPatience is how long consumers wait for another entry once the producers
	// have ended.
	drainPatience = 3 * time.Second
)

// errMalformed says that a server answered XREADGROUP with something else.
var errMalformed = errors.New("bench: the reply to XREADGROUP has not the form of one")

// consumer reads and acknowledges entries of its streams.
type consumer struct {
	worker
	name     string
	streams  []string
	from     int // the next of them to name in a read
	delivery *histogram

	acks   []byte // XACK commands to send before the next read
	nacks  int    // how many
	ids    [][]byte
	latest time.Time // when entries came last
}

// consume reads until the producers have ended and all entries have come, or none
// come any more.
func (c *consumer) consume() error {
	c.latest = time.Now()
	for {
		if c.produced.Load() && (c.delivered.Load() >= c.done.Load() || time.Since(c.latest) > drainPatience) {
			return c.exchangeAcks(nil)
		}
		if err := c.exchangeAcks(c.readRequest()); err != nil {
			return err
		}
		b, err := c.conn.reply(true)
		if err != nil {
			return err
		}
		if len(c.conn.head) > 0 && c.conn.head[0] == '-' {
			c.failures.refused(c.conn.head)
			time.Sleep(refusedPause)
			continue
		}
		if err := c.took(b); err != nil {
			return err
		}
	}
}

// exchangeAcks sends the acknowledgements due and the request after them, and reads
// the replies to the former.
func (c *consumer) exchangeAcks(request []byte) error {
	n := c.nacks
	batch := append(c.acks, request...)
	c.acks, c.nacks = batch[:0], 0
	if len(batch) == 0 {
		return nil
	}
	if err := c.conn.send(batch); err != nil {
		c.failures.unanswered(n)
		return err
	}
	for i := range n {
		if _, err := c.conn.reply(false); err != nil {
			c.failures.unanswered(n - i)
			return err
		}
		acked, err := strconv.ParseInt(string(bytes.TrimPrefix(c.conn.head, []byte(":"))), 10, 64)
		if err != nil {
			c.failures.refused(c.conn.head)
			continue
		}
		c.acked.Add(acked)
	}
	return nil
}

// readRequest is an XREADGROUP of the next streams.
func (c *consumer) readRequest() []byte {
	n := min(len(c.streams), readStreams)
	words := []string{"XREADGROUP", "GROUP", groupName, c.name, "COUNT", strconv.Itoa(c.cfg.ReadCount), "BLOCK", blockMS, "STREAMS"}
	for i := range n {
		words = append(words, c.streams[(c.from+i)%len(c.streams)])
	}
	for range n {
		words = append(words, ">")
	}
	if len(c.streams) > n {
		c.from = (c.from + n) % len(c.streams)
	}
	return request(nil, words...)
}

// took notes the entries of a reply, to be acknowledged with the next read. The
// reply is [[stream, [[id, [field, value]], …]], …], or null.
func (c *consumer) took(reply []byte) error {
	now := time.Now()
	t := tokens{b: reply}
	for range t.array() {
		if t.array() != 2 {
			return errMalformed
		}
		name := t.bulk()
		c.ids = c.ids[:0]
		for range t.array() {
			if t.array() != 2 {
				return errMalformed
			}
			c.ids = append(c.ids, t.bulk())
			for i := range t.array() { // none for an entry deleted meanwhile
				if text := t.bulk(); i == 1 && len(text) >= stampBytes {
					if ns, err := strconv.ParseInt(string(text[:stampBytes]), 10, 64); err == nil {
						c.delivery.record(now.Sub(time.Unix(0, ns)))
					}
				}
			}
		}
		if t.bad {
			return errMalformed
		}
		if len(c.ids) == 0 {
			continue
		}
		c.acks = ackRequest(c.acks, name, c.ids)
		c.nacks++
		c.delivered.Add(int64(len(c.ids)))
		c.latest = now
	}
	if t.bad {
		return errMalformed
	}
	return nil
}

// ackRequest appends an XACK of ids.
func ackRequest(dst, stream []byte, ids [][]byte) []byte {
	dst = resp.AppendArrayLen(dst, 3+len(ids))
	dst = resp.AppendBulk(dst, []byte("XACK"))
	dst = resp.AppendBulk(dst, stream)
	dst = resp.AppendBulk(dst, []byte(groupName))
	for _, id := range ids {
		dst = resp.AppendBulk(dst, id)
	}
	return dst
}

// tokens walks a complete reply of RESP2.
type tokens struct {
	b   []byte
	bad bool
}

// array takes the head of an array and returns its length, 0 for a null.
func (t *tokens) array() int { return max(0, t.length('*')) }

// bulk takes a bulk string.
func (t *tokens) bulk() []byte {
	n := t.length('$')
	if t.bad || n < 0 || len(t.b) < n+2 {
		t.bad = true
		return nil
	}
	s := t.b[:n]
	t.b = t.b[n+2:]
	return s
}

func (t *tokens) length(kind byte) int {
	i := bytes.IndexByte(t.b, '\r')
	if t.bad || i < 1 || t.b[0] != kind {
		t.bad = true
		return 0
	}
	n, err := strconv.Atoi(string(t.b[1:i]))
	t.bad = err != nil
	t.b = t.b[i+2:]
	return n
}
