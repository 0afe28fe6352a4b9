package stream_test

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace/resp"
	"millrace/stream"
)

// goldenSections lists the sections of the transcripts of Redis 8.6.3 that need only this
// package. A section continues with the state of the one before, unless it starts with
// FLUSHALL.
var goldenSections = []string{
	"XADD ids and errors", "'maxlen' as a field name/ID position", "XRANGE / XREVRANGE", "XDEL / tombstones / metadata",
	"XTRIM", "XSETID",
	"XGROUP", "XINFO", "XREADGROUP errors", "lag / entries-read", "pending, history, delivery count, idle", "XCLAIM",
	"XAUTOCLAIM", "CLAIM", "XACKDEL / XDELEX", "XTRIM/XADD with DELREF/ACKED", "IDMP", "RESP3 shapes",
}

// TestGolden replays the transcripts of Redis 8.6.3 in both protocol versions.
func TestGolden(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) { replayGolden(t, proto) })
	}
}

func replayGolden(t *testing.T, proto int) {
	f, err := os.Open("testdata/golden/resp" + strconv.Itoa(proto) + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	r, wanted, ran := newRig(t), false, 0
	for lines.Scan() {
		line := lines.Text()
		if heading, ok := strings.CutPrefix(line, "# "); ok {
			wanted = slices.Contains(goldenSections, heading)
			continue
		}
		command, want, ok := strings.Cut(line, " => ")
		if !wanted || !ok {
			continue
		}
		words := goldenWords(strings.TrimRight(command, " "))
		if len(words) == 1 && words[0] == "FLUSHALL" {
			r = newRig(t)
			continue
		}
		words = translate(words)
		if slices.Contains(unreplayed, words[0]) || len(words) == 2 && words[1] == "HELP" {
			continue // the sentences of HELP are our own
		}
		argv := argvOf(words...)
		if c, refusal := stream.Lookup(argv); c == nil && refusal == nil {
			continue // not a command of this package
		}
		// In the transcripts a command took less than a millisecond, but there was a pause
		// of about 60 ms before this one.
		r.nowMS++
		if strings.HasPrefix(command, "XREADGROUP GROUP g c2 CLAIM 50 ") {
			r.nowMS += 60
		}
		got := resp.Print(r.run(argv), proto)
		if forget(got) != forget(want) {
			t.Errorf("%s\n got %s\nwant %s", command, got, want)
		}
		ran++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if ran < 150 {
		t.Errorf("only %d lines were replayed", ran)
	}
}

// unreplayed lists commands of the transcripts that the router runs.
var unreplayed = []string{"CLIENT", "COMMAND", "CONFIG", "HELLO", "OBJECT"}

// translate returns the command that the router sends to a shard for a client's command.
func translate(words []string) []string {
	if len(words) == 4 && words[0] == "CONFIG" && words[1] == "SET" && strings.HasPrefix(words[2], "stream-") {
		return []string{"_setting", words[2], words[3]}
	}
	return words
}

// clocks match the parts of replies that depend on the time.
var clocks = []*regexp.Regexp{
	regexp.MustCompile(`("(?:idle|inactive|seen-time|active-time)"[,:] ):\d+`),
	regexp.MustCompile(`(\["[\d-]+", "[^"]*", ):\d+(, :\d+\])`), // XPENDING, XINFO STREAM FULL
	regexp.MustCompile(`(\["[\d-]+", ):\d+(, :\d+\])`),          // XINFO STREAM FULL
	regexp.MustCompile(`(\], ):[1-9]\d*(, :\d+\])`),             // XREADGROUP CLAIM
	regexp.MustCompile(`(\], ):0(, :[1-9]\d*\])`),
}

// forget replaces the times in a printed reply.
func forget(reply string) string {
	for _, re := range clocks {
		reply = re.ReplaceAllString(reply, "${1}T${2}")
	}
	return reply
}

// goldenWords splits a line at the blanks outside quotes.
func goldenWords(line string) []string {
	var words []string
	var word strings.Builder
	open, quoted := false, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}
