package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"millrace/resp"
)

// conn is one client connection. It reads replies in order, and keeps only the first line
// of each unless the caller asks for the whole reply. One goroutine uses it.
type conn struct {
	nc      net.Conn
	release func() bool // stops watching the context
	timeout time.Duration

	buf   []byte // bytes read; those from next on are not consumed yet
	next  int
	frame resp.Framer
	head  []byte // first line of the last reply, without CRLF
}

// replyBuffer is the initial size of a connection's buffer. It grows only for a larger
// reply that is kept.
const replyBuffer = 16 << 10

// dial connects to addr and authenticates. The connection is closed when ctx ends.
func dial(ctx context.Context, cfg *Config, addr string) (*conn, error) {
	d := net.Dialer{Timeout: cfg.DialTimeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("bench: connect: %w", err)
	}
	c := &conn{nc: nc, timeout: cfg.ReplyTimeout, buf: make([]byte, 0, replyBuffer)}
	c.release = context.AfterFunc(ctx, func() { nc.Close() })
	if cfg.Password != "" {
		if err := c.command("AUTH", cfg.Password); err != nil {
			c.close()
			return nil, fmt.Errorf("bench: %s: AUTH: %w", addr, err)
		}
	}
	return c, nil
}

func (c *conn) close() {
	c.release()
	c.nc.Close()
}

// send writes requests. The time for their replies, cfg.ReplyTimeout, starts now.
func (c *conn) send(requests []byte) error {
	if err := c.nc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(requests)
	return err
}

// command sends a command. An error reply is returned as an error.
func (c *conn) command(words ...string) error {
	v, err := c.ask(words...)
	if err == nil && v.IsErr() {
		err = fmt.Errorf("%s", v.Str)
	}
	return err
}

// ask sends a command and returns the reply.
func (c *conn) ask(words ...string) (resp.Value, error) {
	if err := c.send(request(nil, words...)); err != nil {
		return resp.Value{}, err
	}
	b, err := c.reply(true)
	if err != nil {
		return resp.Value{}, err
	}
	v, _, err := resp.ParseValue(bytes.Clone(b))
	return v, err
}

// request appends a command to dst.
func request(dst []byte, words ...string) []byte {
	dst = resp.AppendArrayLen(dst, len(words))
	for _, w := range words {
		dst = resp.AppendBulk(dst, []byte(w))
	}
	return dst
}

// reply reads a reply and sets head. If keep is set, it also returns the whole reply,
// which is valid until the next call.
func (c *conn) reply(keep bool) ([]byte, error) {
	at := c.next // the framer continues here; with keep, the reply starts at next
	first := true
	for {
		n, done, err := c.frame.Next(c.buf[at:])
		if err != nil {
			return nil, fmt.Errorf("bench: reply: %w", err)
		}
		if n > 0 && first { // the framer takes the first line as a whole
			line := c.buf[at : at+n]
			if i := bytes.IndexByte(line, '\r'); i >= 0 {
				line = line[:i]
			}
			c.head = append(c.head[:0], line...)
			first = false
		}
		at += n
		if done {
			whole := c.buf[c.next:at]
			c.next = at
			return whole, nil
		}
		if !keep {
			c.next = at
		}
		if at, err = c.fill(at); err != nil {
			return nil, err
		}
	}
}

// fill reads once and keeps the bytes from next on. Because these may move, it returns the
// new position of at.
func (c *conn) fill(at int) (int, error) {
	if c.next > 0 && (c.next == len(c.buf) || len(c.buf) == cap(c.buf)) {
		n := copy(c.buf, c.buf[c.next:])
		c.buf = c.buf[:n]
		at -= c.next
		c.next = 0
	}
	if len(c.buf) == cap(c.buf) {
		c.buf = append(make([]byte, 0, 2*cap(c.buf)), c.buf...)
	}
	n, err := c.nc.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return at, nil
	}
	return at, err
}
