package diff

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/cockroachdb/datadriven"

	"millrace/resp"
	"millrace/stream"
	"millrace/test/cluster"
)

// scriptDir holds the scripts of the state machine. Package stream replays them on the
// state alone, and describes their format.
const scriptDir = "../../../stream/testdata"

// scriptTag is put before the keys of a script whose commands take several keys, so that
// the keys lie in one slot.
const scriptTag = "{script}"

// oneSlot has the scripts whose keys get scriptTag.
var oneSlot = map[string]bool{"rename": true, "copy": true, "expire": true, "incr": true}

// unplayedScripts has the scripts in which a node answers nearly every command differently,
// with the reason and the test that replaces the script.
var unplayedScripts = map[string]string{
	"scan": "a cursor goes over all shards: TestScanOverShards in router",
}

// unplayedReasons matches the reasons of blocks that a client cannot play on a node, for
// example because the script sets the time.
var unplayedReasons = regexp.MustCompile(`time|router|the script says|Redis counts its memory|newer type`)

// TestScripts replays the scripts through a node in both protocol versions, and on the
// redis-server in PATH if it has the commands. The replies must be those of the script.
// Most scripts show RESP2; then the replies in RESP3 must have the same content, and the
// same types as Redis's replies.
func TestScripts(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 6, Args: []string{"--enable-flush"}})
	redis := ""
	if path, err := exec.LookPath("redis-server"); err == nil {
		redis = startRedis(t, path)
	}
	files, err := os.ReadDir(scriptDir)
	if err != nil {
		t.Fatal(err)
	}
	played, compared := 0, 0
	for _, proto := range []int{2, 3} {
		for _, f := range files {
			if f.IsDir() || unplayedScripts[f.Name()] != "" {
				continue
			}
			t.Run(fmt.Sprintf("resp%d/%s", proto, f.Name()), func(t *testing.T) {
				s := &scriptRun{t: t, name: f.Name(), proto: proto, ours: dial(t, c.Addrs()[0])}
				if redis != "" {
					s.theirs = dial(t, redis)
					s.oracle = versionOf(t, s.theirs)
					s.theirs.do("CONFIG", "SET", "rdbcompression", "no") // because Millrace's DUMP does not compress
				}
				s.reset()
				datadriven.RunTest(t, filepath.Join(scriptDir, f.Name()), s.block)
				played += s.played
				compared += s.compared
			})
		}
	}
	t.Logf("%d blocks were played, %d of them on Redis too", played, compared)
	if played < enoughBlocks || redis != "" && compared < enoughBlocks {
		t.Errorf("that is less than %d", enoughBlocks)
	}
}

// enoughBlocks is the least number of blocks of the scripts that the test must play.
const enoughBlocks = 200

// scriptRun is a script that is being replayed on a node and on Redis.
type scriptRun struct {
	t     *testing.T
	name  string
	proto int

	ours        *client
	oursApart   bool    // the node's state differs from the script's until the next reset
	theirs      *client // nil without Redis
	theirsApart bool    // Redis's state differs from the script's until the next reset
	oracle      version

	played, compared int // blocks
}

// reset empties both servers and sets their parameters to the defaults.
func (s *scriptRun) reset() {
	s.oursApart, s.theirsApart = false, s.theirs == nil
	cmds := [][]string{
		{"FLUSHALL"}, {"CONFIG", "SET", "stream-node-max-entries", "100"}, {"CONFIG", "SET", "stream-node-max-bytes", "4096"},
	}
	s.ours.send(cmds...)
	replies := s.ours.recv(len(cmds))
	if s.theirs != nil {
		s.theirs.send(cmds...)
		replies = append(replies, s.theirs.recv(len(cmds))...)
	}
	for _, v := range replies {
		if v.IsErr() {
			s.t.Fatal(v.String())
		}
	}
}

// block plays one block of the script and reports every difference as an error. It returns
// the replies of the script, so that datadriven never rewrites the script.
func (s *scriptRun) block(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "reset":
		s.reset()
		return d.Expected
	case "records", "check":
		return d.Expected // only the state machine has these
	}
	s.mark(t, d)
	if s.oursApart {
		return d.Expected
	}
	proto := s.proto
	if d.HasArg("proto") {
		proto = 3
	}
	cmds := s.commands(t, d)
	a := play(s.ours, proto, d.Cmd == "exec", cmds)
	if a == nil { // keys of several slots: the node's state now differs from the script's
		s.oursApart = true
		return d.Expected
	}
	s.played++
	if d.Cmd != "type" {
		s.like(t, d, proto, cmds, a)
	}
	if !s.theirsApart {
		s.compared++
		b := play(s.theirs, proto, d.Cmd == "exec", cmds)
		for i, words := range cmds {
			if x, y := forget(words, a[i], b[i]); x.String() != y.String() {
				t.Errorf("%s: %s\n  Millrace  %s\n  Redis     %s", d.Pos, words, x.String(), y.String())
			}
		}
	}
	return d.Expected
}

// mark finds the servers that cannot play a block. Their state differs from the script's
// from then on, so that they skip all blocks up to the next reset.
func (s *scriptRun) mark(t *testing.T, d *datadriven.TestData) {
	var since, ours string
	if d.HasArg("since") {
		d.ScanArgs(t, "since", &since)
		var major, minor int
		_, _ = fmt.Sscanf(since, "%d.%d", &major, &minor)
		s.theirsApart = s.theirsApart || version(100*major+minor) > s.oracle
	}
	if d.HasArg("ours") {
		for _, arg := range d.CmdArgs {
			if arg.Key == "ours" {
				ours = strings.Join(arg.Vals, " ")
			}
		}
		s.theirsApart = true
		s.oursApart = s.oursApart || unplayedReasons.MatchString(ours)
	}
	for line := range strings.Lines(d.Input) {
		s.oursApart = s.oursApart || strings.HasPrefix(line, "_") && !strings.HasPrefix(line, "_setting ")
	}
	if d.HasArg("clock") {
		s.oursApart, s.theirsApart = true, true
	}
}

// commands returns the commands of a block as a client sends them.
func (s *scriptRun) commands(t *testing.T, d *datadriven.TestData) (out [][]string) {
	for line := range strings.Lines(d.Input) {
		words := scriptWords(t, line)
		switch {
		case d.Cmd == "type":
			words = []string{"SET", words[0], "x"}
		case words[0] == "_setting":
			words = append([]string{"CONFIG", "SET"}, words[1:]...)
		}
		if oneSlot[s.name] {
			tagKeys(words)
		}
		out = append(out, words)
	}
	return out
}

// tagKeys puts scriptTag before the keys of a command.
func tagKeys(words []string) {
	argv := make([][]byte, len(words))
	for i, w := range words {
		argv[i] = []byte(w)
	}
	cmd, refusal := stream.Lookup(argv)
	if cmd == nil || refusal != nil {
		return
	}
	for _, i := range cmd.KeyIndexes(argv) {
		words[i] = scriptTag + words[i]
	}
}

// play sends commands in a protocol version and returns their replies, or nil if they are
// a transaction over several slots.
func play(c *client, proto int, multi bool, cmds [][]string) []resp.Value {
	c.do("HELLO", fmt.Sprint(proto))
	if !multi {
		c.send(cmds...)
		return c.recv(len(cmds))
	}
	c.send(append(append([][]string{{"MULTI"}}, cmds...), []string{"EXEC"})...)
	all := c.recv(len(cmds) + 2)
	out := all[len(all)-1].Elems
	if strings.HasPrefix(string(all[len(all)-1].Str), "CROSSSLOT ") {
		return nil
	}
	if len(out) != len(cmds) {
		c.t.Fatalf("EXEC of %q answers %s", cmds, all[len(all)-1].String())
	}
	return out
}

// like compares the replies of a block with the script.
func (s *scriptRun) like(t *testing.T, d *datadriven.TestData, proto int, cmds [][]string, got []resp.Value) {
	t.Helper()
	want := strings.Split(strings.TrimSuffix(d.Expected, "\n"), "\n")
	if len(want) != len(got) {
		t.Fatalf("%s: %d replies, %d in the script", d.Pos, len(got), len(want))
	}
	for i, v := range got {
		shown := strings.ReplaceAll(scriptText(cmds[i], v, proto, d), scriptTag, "")
		v = clone(v)
		timed := d.HasArg("times") || len(times(cmds[i], &v)) > 0
		anyNull := proto == 3 && !d.HasArg("proto")
		if a, b := plain(shown, timed, anyNull), plain(want[i], timed, anyNull); a != b {
			t.Errorf("%s: %s\n  Millrace    %s\n  the script  %s", d.Pos, cmds[i], a, b)
		}
	}
}

// scriptText prints a reply in the form of a script: in RESP2, unless the block asks for
// RESP3.
func scriptText(words []string, v resp.Value, proto int, d *datadriven.TestData) string {
	if d.HasArg("hex") && bytes.ContainsFunc(v.Str, unicode.IsControl) {
		return fmt.Sprintf("hex:%x", v.Str)
	}
	if d.HasArg("proto") || proto == 2 {
		return resp.Print(v, proto)
	}
	if v.Kind == resp.KindMap && (is(words[0], "XREAD") || is(words[0], "XREADGROUP")) {
		v.Kind = resp.KindPairs
	}
	if is(words[0][:1], "Z") {
		v = flat(v)
	}
	return resp.Print(v, 2)
}

// flat returns members with their scores, which RESP3 has in arrays of two, as RESP2 has them.
func flat(v resp.Value) resp.Value {
	var out []resp.Value
	for _, e := range v.Elems {
		if len(e.Elems) != 2 || e.Elems[1].Kind != resp.KindDouble {
			return v
		}
		out = append(out, e.Elems...)
	}
	v.Elems = out
	return v
}

var number = regexp.MustCompile(`:\d+`)

// plain removes from a reply's text the parts that a node may answer differently: all
// numbers if one of them is a time, and the kind of a null in RESP2.
func plain(text string, timed, anyNull bool) string {
	if timed {
		text = number.ReplaceAllString(text, ":n")
	}
	if anyNull {
		text = strings.ReplaceAll(text, "*-1", "$-1")
	}
	return text
}

// scriptWords splits a line of a script at spaces outside of quotes. A word such as
// "hex:0a" stands for the bytes with these hexadecimal digits.
func scriptWords(t *testing.T, line string) []string {
	var words []string
	var word strings.Builder
	open, quoted := false, false
	end := func() {
		if open {
			words = append(words, word.String())
		}
		word.Reset()
		open = false
	}
	for _, c := range strings.TrimSpace(line) {
		switch {
		case c == '"':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			end()
		default:
			word.WriteRune(c)
			open = true
		}
	}
	end()
	for i, w := range words {
		if digits, ok := strings.CutPrefix(w, "hex:"); ok {
			b, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			words[i] = string(b)
		}
	}
	return words
}
