// Package client is the Redis client of the chaos harness. It never repeats a command. For
// each command it returns one of three outcomes: there is a reply, the command was
// certainly not done, or nobody knows.
package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"millrace/resp"
)

// Outcome is a client's knowledge about a command that it sent.
type Outcome uint8

const (
	Replied Outcome = iota // a reply told the result
	Refused                // certainly not done
	Unknown                // it was done, was not done, or will still be done
)

func (o Outcome) String() string { return [...]string{"replied", "refused", "unknown"}[o] }

// maxReply bounds a reply in bytes. The harness never asks for a larger one.
const maxReply = 64 << 20

// Conn is a connection, used by one goroutine. After a network error it is broken for
// good, and Broken returns true; an error reply does not break it.
type Conn struct {
	Node int // index of the node at the other end

	nc      net.Conn
	r       *resp.ValueReader
	timeout time.Duration
	out     []byte
	broken  bool
}

// Options are the settings of a connection.
type Options struct {
	Password string        // empty: no AUTH is sent
	Dial     time.Duration // bounds connecting, AUTH and READONLY
	Reply    time.Duration // bounds a command and its reply
	ReadOnly bool          // the node's own replica answers reads
}

// Dial connects to a node. After an error, no command of the caller was sent.
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

// SetTimeout replaces Options.Reply for the commands that follow.
func (c *Conn) SetTimeout(d time.Duration) { c.timeout = d }

// Broken reports whether the connection has failed and cannot be used any more.
func (c *Conn) Broken() bool { return c.broken }

// Close closes the connection.
func (c *Conn) Close() { c.nc.Close() }

// Do sends a command and waits for its reply. The error is nil exactly when the outcome
// is Replied. The reply may still be an error that tells the result, such as NOGROUP.
func (c *Conn) Do(words ...string) (resp.Value, Outcome, error) {
	if err := c.Send(words); err != nil {
		return resp.Value{}, Unknown, err
	}
	return c.Receive()
}

// Send writes commands. The caller then calls Receive once for each, in the same order.
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

// Receive reads one reply; its results are those of Do.
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

// Judge returns the outcome of a command with this reply. An error reply is Refused or
// Unknown only by its first word: "TRYAGAIN x" is Refused, "ERR TRYAGAIN" is Replied.
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
