// Package client is the Redis client of the chaos harness. It never repeats a command,
// and tells of each one which of three things is known: the reply, that it was not
// done, or nothing.
package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"millrace/resp"
)

// Outcome is what a client knows of a command.
type Outcome uint8

const (
	Replied Outcome = iota // there is a reply that says what happened
	Refused                // certainly not done
	Unknown                // done, or not, or done yet
)

func (o Outcome) String() string { return [...]string{"replied", "refused", "unknown"}[o] }

// maxReply bounds a reply; the harness asks for nothing greater.
const maxReply = 64 << 20

// Conn is a connection. One goroutine uses it. After an error that is no reply it is
// broken, and Broken says so.
type Conn struct {
	Node int // index of the node it leads to

	nc      net.Conn
	r       *resp.ValueReader
	timeout time.Duration
	out     []byte
	broken  bool
}

// Options say how to connect.
type Options struct {
	Password string
	Dial     time.Duration // bounds connecting
	Reply    time.Duration // bounds a command and its reply
	ReadOnly bool          // reads are answered by the node's own replica
}

// Dial connects. An error means that no command was sent.
func Dial(node int, addr string, o Options) (*Conn, error) {
	nc, err := net.DialTimeout("tcp", addr, o.Dial)
	if err != nil {
		return nil, err
	}
	c := &Conn{Node: node, nc: nc, r: resp.NewValueReader(nc, maxReply), timeout: o.Dial}
	if o.Password != "" {
		err = c.expectOK("AUTH", o.Password)
	}
	if err == nil && o.ReadOnly {
		err = c.expectOK("READONLY")
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	c.timeout = o.Reply
	return c, nil
}

func (c *Conn) expectOK(words ...string) error {
	v, _, err := c.Do(words...)
	if err == nil && v.IsErr() {
		err = errors.New(string(v.Str))
	}
	return err
}

// SetTimeout changes how long the next commands may take.
func (c *Conn) SetTimeout(d time.Duration) { c.timeout = d }

// Broken reports whether the connection cannot be used any more.
func (c *Conn) Broken() bool { return c.broken }

// Close closes the connection.
func (c *Conn) Close() { c.nc.Close() }

// Do sends a command. The error is nil exactly when the outcome is Replied; a reply may
// still be an error that says what happened, such as NOGROUP.
func (c *Conn) Do(words ...string) (resp.Value, Outcome, error) {
	if err := c.Send(words); err != nil {
		return resp.Value{}, Unknown, err
	}
	return c.Receive()
}

// Send writes commands, whose replies are then received in order.
func (c *Conn) Send(commands ...[]string) error {
	c.out = c.out[:0]
	for _, words := range commands {
		c.out = resp.AppendArrayLen(c.out, len(words))
		for _, w := range words {
			c.out = resp.AppendBulk(c.out, []byte(w))
		}
	}
	if err := c.nc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		c.broken = true
		return err
	}
	if _, err := c.nc.Write(c.out); err != nil {
		c.broken = true
		return err
	}
	return nil
}

// Receive reads one reply. See Do.
func (c *Conn) Receive() (resp.Value, Outcome, error) {
	if c.broken {
		return resp.Value{}, Unknown, net.ErrClosed
	}
	v, err := c.r.ReadValue()
	if err != nil {
		c.broken = true
		return v, Unknown, err
	}
	if o := Judge(v); o != Replied {
		return v, o, errors.New(string(v.Str))
	}
	return v, Replied, nil
}

// Judge returns what a reply says of its command.
func Judge(v resp.Value) Outcome {
	if !v.IsErr() {
		return Replied
	}
	code, _, _ := strings.Cut(string(v.Str), " ")
	switch code {
	case "CLUSTERDOWN", "TRYAGAIN", "OVERLOADED", "NOSPACE":
		return Refused
	case "INDOUBT":
		return Unknown
	}
	return Replied
}
