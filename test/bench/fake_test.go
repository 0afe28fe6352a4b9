package bench

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/resp"
)

// fake is a server in memory with just the commands that a run sends.
type fake struct {
	t    *testing.T
	ln   net.Listener
	addr string
	wg   sync.WaitGroup // accept loop and connections

	mu       sync.Mutex
	conns    map[net.Conn]bool
	streams  map[string]*fakeStream
	commands map[string]int // by name
	deepest  int            // the most commands that arrived together
	password string
	slots    resp.Value // reply to CLUSTER SLOTS
	replicas int64      // reply to WAIT

	// refuse, unless nil, is called with mu held before the nth command of a name. It may
	// return an error reply, or close the connection.
	refuse func(name string, n int) (reply resp.Value, hangUp bool)
}

type fakeStream struct {
	ids    []string
	values []string
	group  bool
	next   int // position of the next entry to deliver to the group
	acked  int
}

func newFake(t *testing.T) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, ln: ln, addr: ln.Addr().String(), conns: map[net.Conn]bool{},
		streams: map[string]*fakeStream{}, commands: map[string]int{}}
	f.slots = resp.Err("ERR This instance has cluster support disabled")
	f.wg.Go(func() { // accepts until the listener is closed
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[nc] = true
			f.mu.Unlock()
			f.wg.Add(1)
			go f.serve(nc)
		}
	})
	t.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.ln.Close()
	f.mu.Lock()
	for nc := range f.conns {
		nc.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *fake) serve(nc net.Conn) {
	defer f.wg.Done()
	defer nc.Close()
	r := resp.NewReader(nc, resp.DefaultLimits)
	var out []byte
	authed, together := false, 0
	for {
		argv, err := r.ReadCommand()
		if err != nil {
			return
		}
		together++
		reply, hangUp := f.do(argv, &authed)
		if hangUp {
			return
		}
		out = resp.AppendValue(out, reply, 2)
		if !r.HasCommand() {
			f.mu.Lock()
			f.deepest = max(f.deepest, together)
			f.mu.Unlock()
			if _, err := nc.Write(out); err != nil {
				return
			}
			out, together = out[:0], 0
		}
	}
}

// do runs a command, unless the client must authenticate first or refuse intervenes.
func (f *fake) do(argv [][]byte, authed *bool) (reply resp.Value, hangUp bool) {
	w := make([]string, len(argv))
	for i := range argv {
		w[i] = string(argv[i])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w[0] == "AUTH" {
		if *authed = w[1] == f.password; !*authed {
			return resp.Err("WRONGPASS invalid username-password pair or user is disabled."), false
		}
		return resp.OK, false
	}
	if f.password != "" && !*authed {
		return resp.Err("NOAUTH Authentication required."), false
	}
	f.commands[w[0]]++
	if f.refuse != nil {
		if v, hangUp := f.refuse(w[0], f.commands[w[0]]); hangUp || v.IsErr() {
			return v, hangUp
		}
	}
	return f.run(w), false
}

// run runs a command, with mu held.
func (f *fake) run(w []string) resp.Value {
	switch w[0] {
	case "CLUSTER":
		return f.slots
	case "WAIT":
		return resp.Int(f.replicas)
	case "UNLINK":
		delete(f.streams, w[1])
		return resp.Int(1)
	case "XLEN":
		if s := f.streams[w[1]]; s != nil {
			return resp.Int(int64(len(s.ids)))
		}
		return resp.Int(0)
	case "XADD":
		s := f.stream(w[1])
		id := w[len(w)-3]
		if id == "*" {
			id = fmt.Sprintf("%d-0", len(s.ids)+1)
		}
		s.ids, s.values = append(s.ids, id), append(s.values, w[len(w)-1])
		return resp.BulkString(id)
	case "XRANGE":
		return f.entries(f.streams[w[1]], atoi(w[2])-1, atoi(w[5]))
	case "XREAD":
		e := f.entries(f.streams[w[4]], atoi(w[5]), atoi(w[2]))
		if len(e.Elems) == 0 {
			return resp.NullArray()
		}
		return resp.Array(resp.Array(resp.BulkString(w[4]), e))
	case "XGROUP":
		s := f.stream(w[2])
		if s.group {
			return resp.Err("BUSYGROUP Consumer Group name already exists")
		}
		s.group, s.next = true, len(s.ids)
		return resp.OK
	case "XREADGROUP":
		return f.readGroup(w)
	case "XACK":
		f.stream(w[1]).acked += len(w) - 3
		return resp.Int(int64(len(w) - 3))
	}
	return resp.Err("ERR unknown command '" + w[0] + "'")
}

// atoi reads a number, or the first part of an ID.
func atoi(s string) int {
	s, _, _ = strings.Cut(s, "-")
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// stream returns a stream, and creates it if it does not exist.
func (f *fake) stream(name string) *fakeStream {
	if f.streams[name] == nil {
		f.streams[name] = &fakeStream{}
	}
	return f.streams[name]
}

// entries returns up to count entries of s from position from on.
func (f *fake) entries(s *fakeStream, from, count int) resp.Value {
	v := resp.Array()
	if s == nil {
		return v
	}
	for i := from; i < min(from+count, len(s.ids)); i++ {
		v.Elems = append(v.Elems, resp.Array(resp.BulkString(s.ids[i]),
			resp.Array(resp.BulkString("v"), resp.BulkString(s.values[i]))))
	}
	return v
}

// readGroup runs XREADGROUP GROUP g c COUNT n BLOCK ms STREAMS …
func (f *fake) readGroup(w []string) resp.Value {
	names := w[9 : 9+(len(w)-9)/2]
	end := time.Now().Add(time.Duration(atoi(w[7])) * time.Millisecond)
	for {
		v := resp.Array()
		for _, n := range names {
			s := f.streams[n]
			if s == nil || !s.group {
				return resp.Err("NOGROUP No such key")
			}
			if e := f.entries(s, s.next, atoi(w[5])); len(e.Elems) > 0 {
				s.next += len(e.Elems)
				v.Elems = append(v.Elems, resp.Array(resp.BulkString(n), e))
			}
		}
		if len(v.Elems) > 0 {
			return v
		}
		if time.Now().After(end) {
			return resp.NullArray()
		}
		f.mu.Unlock()
		time.Sleep(time.Millisecond) // other connections may add entries
		f.mu.Lock()
	}
}

// lead gives each server an equal run of slots to lead, and all of them the reply to
// CLUSTER SLOTS.
func lead(fs ...*fake) {
	var runs []resp.Value
	for i, f := range fs {
		host, port, _ := net.SplitHostPort(f.addr)
		if i == 0 {
			host = "" // the host that the client has connected to
		}
		p, _ := strconv.Atoi(port)
		runs = append(runs, resp.Array(resp.Int(int64(16384*i/len(fs))), resp.Int(int64(16384*(i+1)/len(fs)-1)),
			resp.Array(resp.BulkString(host), resp.Int(int64(p)), resp.BulkString(strings.Repeat("a", 40)))))
	}
	for i, f := range fs {
		f.mu.Lock()
		own := append([]resp.Value(nil), runs...)
		if i > 0 { // only the first server may leave out its own host
			own[0] = resp.Array(runs[0].Elems[0], runs[0].Elems[1],
				resp.Array(resp.BulkString("127.0.0.1"), runs[0].Elems[2].Elems[1], resp.BulkString("")))
		}
		f.slots = resp.Array(own...)
		f.mu.Unlock()
	}
}
