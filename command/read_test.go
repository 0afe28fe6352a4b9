package command

import (
	"reflect"
	"strings"
	"testing"
)

func split(line string) [][]byte {
	var out [][]byte
	for w := range strings.FieldsSeq(line) {
		out = append(out, []byte(w))
	}
	return out
}

// TestReadWords reads words and compares the words that Words writes for them.
func TestReadWords(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"xread STREAMS a 0", "XREAD STREAMS a 0"},
		{"XREAD count 5 block 0 streams a b 1-1 $", "XREAD COUNT 5 BLOCK 0 STREAMS a b 1-1 $"},
		{"XREAD COUNT -3 STREAMS a +", "XREAD STREAMS a +"}, // no limit
		{"XREAD MAXSIZE 9 MAXCOUNT 8 STREAMS a 0", "XREAD MAXCOUNT 8 MAXSIZE 9 STREAMS a 0"},
		{"XREADGROUP noack GROUP streams streams CLAIM 7 BLOCK 10 STREAMS streams >", "XREADGROUP GROUP streams streams BLOCK 10 CLAIM 7 NOACK STREAMS streams >"},
	} {
		argv := split(tc.line)
		group := IsWord(argv[0], "XREADGROUP")
		r, refusal := ParseRead(argv, group)
		if refusal != nil {
			t.Errorf("%s: %s", tc.line, refusal.Str)
			continue
		}
		at := make([]int, len(r.Keys))
		for i := range at {
			at[i] = i
		}
		words := r.Words(strings.ToUpper(string(argv[0])), at)
		if got := string(join(words)); got != tc.want {
			t.Errorf("%s: words %s, want %s", tc.line, got, tc.want)
		}
		again, refusal := ParseRead(words, group)
		again.First = r.First
		if refusal != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%s: read again it is %+v, want %+v", tc.line, again, r)
		}
	}
}

func join(words [][]byte) []byte {
	var out []string
	for _, w := range words {
		out = append(out, string(w))
	}
	return []byte(strings.Join(out, " "))
}

func TestReadAfter(t *testing.T) {
	for _, tc := range []struct {
		count, maxCount, maxSize int64 // of the call
		entries, size            int64 // in its reply so far
		ok                       bool
		wantCount, wantMaxCount  int64
		wantMaxSize              int64
	}{
		{0, 0, 0, 50, 5000, true, 0, 0, 0},
		{8, 10, 0, 3, 100, true, 7, 7, 0},
		{2, 10, 0, 3, 100, true, 2, 7, 0},
		{0, 10, 0, 10, 100, false, 0, 0, 0},
		{0, 0, 100, 0, 0, true, 0, 0, 100},
		{0, 0, 100, 1, 99, true, 0, 0, 1},
		{0, 0, 100, 1, 100, false, 0, 0, 0},
	} {
		r := Read{Count: tc.count, MaxCount: tc.maxCount, MaxSize: tc.maxSize}
		rest, ok := r.After(tc.entries, tc.size)
		if ok != tc.ok || rest.Count != tc.wantCount || rest.MaxCount != tc.wantMaxCount || rest.MaxSize != tc.wantMaxSize {
			t.Errorf("%+v after %d entries of %d bytes: %+v, %v", r, tc.entries, tc.size, rest, ok)
		}
	}
}

// TestReadKeys finds the keys also when a name looks like an option.
func TestReadKeys(t *testing.T) {
	for line, want := range map[string][]int{
		"XREAD STREAMS a b 0 0":                        {2, 3},
		"XREADGROUP GROUP streams g STREAMS block >":   {5},
		"XREADGROUP GROUP g c COUNT 1 STREAMS a b > 0": {7, 8},
		"XREADGROUP STREAMS a >":                       nil, // no GROUP
		"XREADGROUP GROUP g c STREAMS a b >":           nil, // unbalanced
	} {
		argv := split(line)
		if got := ReadKeys(argv, IsWord(argv[0], "XREADGROUP")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: keys at %v, want %v", line, got, want)
		}
	}
}
