package client

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"millrace/resp"
)

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		v    resp.Value
		want Outcome
	}{
		{resp.OK, Replied}, {resp.Int(0), Replied}, {resp.Null(), Replied}, {resp.BulkString("INDOUBT x"), Replied},
		{resp.Err("ERR no such key"), Replied}, {resp.Err("NOGROUP x"), Replied}, {resp.Err("CLUSTERDOWNER x"), Replied},
		{resp.Err("CLUSTERDOWN x"), Refused}, {resp.Err("TRYAGAIN x"), Refused}, {resp.Err("OVERLOADED x"), Refused},
		{resp.Err("NOSPACE x"), Refused}, {resp.Err("INDOUBT x"), Unknown},
	} {
		if got := Judge(tc.v); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.v, got, tc.want)
		}
	}
}

// server returns the address of a server for one connection. It answers the n-th command
// with the n-th reply and then closes, one second later if the last reply is incomplete.
func server(t *testing.T, replies ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends after the last reply, or when the client or ln closes
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		lines := bufio.NewScanner(c)
		for _, r := range replies {
			for range 3 { // *1 $n word
				if !lines.Scan() {
					return
				}
			}
			_, _ = c.Write([]byte(r))
		}
		if len(replies) > 0 && !strings.HasSuffix(replies[len(replies)-1], "\r\n") {
			time.Sleep(time.Second)
		}
	}()
	return ln.Addr().String()
}

func dialTo(t *testing.T, addr string, reply time.Duration) *Conn {
	t.Helper()
	c, err := Dial(0, addr, Options{Dial: 5 * time.Second, Reply: reply})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		replies []string
		reply   time.Duration
		want    []Outcome
		broken  bool
	}{
		{"replies", []string{"+OK\r\n", "-TRYAGAIN x\r\n", "-INDOUBT x\r\n", ":1\r\n"}, 5 * time.Second, []Outcome{Replied, Refused, Unknown, Replied}, false},
		{"closed instead of an answer", []string{"+OK\r\n"}, 5 * time.Second, []Outcome{Replied, Unknown, Unknown}, true},
		{"half an answer", []string{"$10\r\nabc"}, 200 * time.Millisecond, []Outcome{Unknown, Unknown}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialTo(t, server(t, tc.replies...), tc.reply)
			for i, want := range tc.want {
				if _, o, err := c.Do("PING"); o != want || (err == nil) != (want == Replied) {
					t.Errorf("command %d: %v %v, want %v", i, o, err, want)
				}
			}
			if c.Broken() != tc.broken {
				t.Errorf("broken: %v", c.Broken())
			}
		})
	}
}

func TestDialRefuses(t *testing.T) {
	if _, err := Dial(0, server(t, "-WRONGPASS x\r\n"), Options{Dial: time.Second, Reply: time.Second, ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Error(err)
	}
}
