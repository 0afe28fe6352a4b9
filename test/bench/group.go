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
	// readStreams bounds the streams in one XREADGROUP. A consumer with more streams
	// reads them in turn.
	readStreams = 32
	// blockMS is the BLOCK time of a read. It bounds the time until a consumer notices
	// the end of the run.
	blockMS = "200"
	// refusedPause is the pause of a consumer after an error reply.
	refusedPause = 100 * time.Millisecond
	// drainPatience is the time after which consumers give up if no entry comes any more,
	// once the producers have ended.
	drainPatience = 3 * time.Second
)

// errMalformed means that the reply to XREADGROUP has another form than the command's.
var errMalformed = errors.New("bench: malformed reply to XREADGROUP")

// consumer reads and acknowledges entries of its streams.
type consumer struct {
	worker
	name     string
	streams  []string
	from     int // position in streams at which the next read starts
	delivery *histogram

	acks   []byte    // XACK commands to send before the next read
	nacks  int       // number of XACK commands in acks
	ids    [][]byte  // IDs of one stream's entries in a reply; kept for its memory
	latest time.Time // time at which the last entries came
}

// consume reads until the producers have ended and all entries have been delivered, or no
// entry has come for drainPatience.
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
		if err := c.collect(b); err != nil {
			return err
		}
	}
}

// exchangeAcks sends the pending acknowledgements, followed by request, and reads the
// replies to the acknowledgements. The caller reads the reply to request.
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

// readRequest returns an XREADGROUP of the next streams. Of 40 streams, for example, it
// reads 0 to 31 first, and then 32 to 39 and 0 to 23.
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

// collect counts the entries of a reply, and adds their acknowledgements to acks. The reply
// is [[stream, [[id, [field, value]], …]], …], or null.
func (c *consumer) collect(reply []byte) error {
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
			for i := range t.array() { // empty for an entry deleted in the meantime
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

// ackRequest appends an XACK of ids to dst.
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

// tokens reads the parts of a complete RESP2 reply, in order.
type tokens struct {
	b   []byte // the rest of the reply
	bad bool   // set once a part is not of the expected type; the parts after it are empty
}

// array reads the head of an array and returns its length, or 0 for null.
func (t *tokens) array() int { return max(0, t.length('*')) }

// bulk reads a bulk string.
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

// length reads the first line of a value of a kind, and returns the number in it.
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
