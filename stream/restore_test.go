package stream_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// payloadOf runs commands that build the stream s, and returns the payload of DUMP.
func payloadOf(t failer, r *rig, commands ...string) []byte {
	t.Helper()
	for _, line := range commands {
		if v := r.do(line); v.Kind == resp.KindError {
			t.Fatalf("%s: %v", line, v)
		}
	}
	return r.do("DUMP s").Str
}

// TestRestoreLongNames dumps and restores a group and a consumer whose names are longer than
// the name of a key may be.
func TestRestoreLongNames(t *testing.T) {
	r := newRig(t)
	group, consumer := strings.Repeat("g", stream.MaxKeyLen+1), strings.Repeat("c", 1<<20)
	payload := payloadOf(t, r, "XADD s 1-0 f v", "XGROUP CREATE s "+group+" 0", "XREADGROUP GROUP "+group+" "+consumer+" STREAMS s >")
	if v := r.apply(argvOf("RESTORE", "copy", "0", string(payload)))[0]; v.IsErr() {
		t.Fatalf("RESTORE: %.100s", resp.Print(v, 2))
	}
	if got := r.do("DUMP copy").Str; !bytes.Equal(got, payload) {
		t.Errorf("the restored stream is dumped as %d bytes, the original as %d", len(got), len(payload))
	}
	const pending = "[[\"1-0\", "
	if got := r.show("XPENDING copy " + group + " - + 10 " + consumer); !strings.HasPrefix(got, pending) {
		t.Errorf("XPENDING: %.100s", got)
	}
	if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
		t.Error(err)
	}
}

// TestRestoreBounds checks that DUMP and RESTORE refuse values above the same size. The name
// is in the key of each record, so a stream with a long name reaches the bound with few
// entries.
func TestRestoreBounds(t *testing.T) {
	const tooLarge = "-ERR the value takes more than 64 MiB of memory, too much for DUMP and RESTORE"
	mem, state := newMemKV(), stream.NewState(0, kv.Slots-1)
	name := []byte(strings.Repeat("n", 60_000))
	run := func(words ...[]byte) resp.Value {
		t.Helper()
		replies, _, err := state.Apply(mem, 1_000_000, [][][]byte{words})
		if err != nil {
			t.Fatal(err)
		}
		return replies[0]
	}
	add := func(from, to int) {
		for i := from; i <= to; i++ {
			run([]byte("XADD"), name, fmt.Appendf(nil, "%d-1", i), []byte("f"), []byte("v"))
		}
	}
	restore := func(name, payload []byte) resp.Value {
		return run([]byte("RESTORE"), name, []byte("0"), payload, []byte("REPLACE"))
	}
	add(1, 1000)
	fits := run([]byte("DUMP"), name)
	if got := restore(name, fits.Str); got.Kind != resp.KindSimple {
		t.Errorf("RESTORE answers %.100s", resp.Print(got, 2))
	}
	add(1001, 1200)
	if got := resp.Print(run([]byte("DUMP"), name), 2); got != tooLarge {
		t.Errorf("DUMP answers %.100s", got)
	}

	small := newRig(t)
	for i := range 1200 {
		small.do(fmt.Sprintf("XADD s %d-1 f v", i+1))
	}
	payload := payloadOf(t, small)
	if got := resp.Print(restore(name, payload), 2); got != tooLarge {
		t.Errorf("RESTORE of %d bytes answers %.100s", len(payload), got)
	}
	if got := run([]byte("XLEN"), name); got.Int != 1200 {
		t.Errorf("after that, XLEN answers %v", got)
	}
	if got := restore([]byte("short"), payload); got.Kind != resp.KindSimple {
		t.Errorf("under a short name, RESTORE answers %.100s", resp.Print(got, 2))
	}
}

// TestRestoreWakes checks that RESTORE touches the name, so that blocked calls wake up.
func TestRestoreWakes(t *testing.T) {
	r := newRig(t)
	payload := payloadOf(t, r, "XADD s 1-1 f v")
	r.do("DEL s")
	r.state.Touched()
	if got := r.restore(payload); got != "+OK" {
		t.Fatalf("RESTORE answers %s", got)
	}
	if touched, all := r.state.Touched(); all || len(touched) == 0 || string(touched[len(touched)-1]) != "s" {
		t.Errorf("RESTORE has touched %q", touched)
	}
}

// TestRestoreReplaces restores over a stream that was changed before in the same record.
// Nothing of the old stream may be left.
func TestRestoreReplaces(t *testing.T) {
	r := newRig(t)
	payload := payloadOf(t, r, "XADD s 5-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g a STREAMS s >")
	restore := [][]byte{[]byte("RESTORE"), []byte("s"), []byte("0"), payload, []byte("REPLACE")}
	var before [][][]byte
	for i := range 1500 { // so many that a range tombstone deletes them
		before = append(before, argvOf(strings.Fields(fmt.Sprintf("XADD s %d-1 f v", 10+i))...))
	}
	before = append(before, argvOf(strings.Fields("XREADGROUP GROUP g b STREAMS s >")...), restore, argvOf("DUMP", "s"))
	replies := r.apply(before...)
	if got := replies[len(replies)-1].Str; !bytes.Equal(got, payload) {
		t.Errorf("in the same record it dumps to\n%x, not\n%x", got, payload)
	}
	if got := r.do("DUMP s").Str; !bytes.Equal(got, payload) {
		t.Errorf("after it, it dumps to\n%x, not\n%x", got, payload)
	}
	if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
		t.Error(err)
	}
}

// seal appends the footer of a payload, with the version of Redis 7.0.
func seal(value []byte) []byte {
	b := append(bytes.Clone(value), 10, 0)
	jones := crc64.MakeTable(0x95ac9329ac4bc9b5)
	return binary.LittleEndian.AppendUint64(b, ^crc64.Update(^uint64(0), jones, b))
}

// FuzzRestore restores arbitrary values.
func FuzzRestore(f *testing.F) {
	for _, commands := range [][]string{
		{"XADD s 1-1 f v"},
		{"XGROUP CREATE s g 0 MKSTREAM"},
		{"XADD s 1-1 f v", "XADD s 1-2 f 12", "XADD s 2-0 f v g w", "XGROUP CREATE s g 0", "XREADGROUP GROUP g a COUNT 2 STREAMS s >",
			"XREADGROUP GROUP g b STREAMS s >", "XDEL s 1-2", "XGROUP CREATECONSUMER s g c", "XGROUP CREATE s h $"},
		{"XADD s IDMP p 1 * f v", "XADD s IDMP q 1 * f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g a STREAMS s >",
			"XNACK s g FATAL IDS 1 1000000-0"},
		{"SET s 12345"},
	} {
		payload := payloadOf(f, newRig(f), commands...)
		f.Add(payload[:len(payload)-10])
	}
	script, err := os.ReadFile("testdata/restore")
	if err != nil {
		f.Fatal(err)
	}
	for _, digits := range regexp.MustCompile(`hex:[0-9a-f]+`).FindAllString(string(script), -1) {
		payload := scriptWords(f, digits)[0]
		f.Add([]byte(payload[:max(len(payload)-10, 0)]))
	}
	f.Fuzz(func(t *testing.T, value []byte) { restoreHostile(t, value) })
}

// TestRestoreBent restores dumps of random streams in which one or two bytes were changed.
func TestRestoreBent(t *testing.T) {
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		r := openRig(rt)
		defer r.close()
		m := &streamMaker{T: rt, idmp: true, nack: true}
		r.do(fmt.Sprintf("_setting stream-node-max-entries %d", 1+m.intn("chunk", 6)))
		r.do("XGROUP CREATE s g 0 MKSTREAM")
		for range m.intn("commands", 40) {
			r.do(m.command())
		}
		payload := r.do("DUMP s").Str
		value := payload[:len(payload)-10]
		for range 1 + m.intn("bends", 2) {
			at := m.intn("at", len(value))
			switch m.intn("bend", 4) {
			case 0:
				value[at] = rapid.Byte().Draw(rt, "byte")
			case 1:
				value[at]++
			case 2:
				value = slices.Delete(value, at, at+1)
			case 3:
				value = slices.Insert(value, at, value[at])
			}
			if len(value) == 0 {
				break
			}
		}
		if restoreHostile(rt, value) {
			taken++
		}
	})
	t.Logf("%d were taken", taken)
}

// restoreHostile restores a value with a correct footer, and reports whether it was accepted.
// An accepted stream must have records that agree with each other, also after every command
// that follows, and must dump and restore to the same stream.
func restoreHostile(t failer, value []byte) bool {
	mem, state := newMemKV(), stream.NewState(0, kv.Slots-1)
	run := func(argv ...[]byte) resp.Value {
		replies, _, err := state.Apply(mem, 1_000_000, [][][]byte{argv})
		if err == nil {
			err = state.Flush(mem)
		}
		if err != nil {
			t.Fatalf("%q: %v", argv, err)
		}
		state.Reset()
		return replies[0]
	}
	line := func(line string) resp.Value { return run(argvOf(strings.Fields(line)...)...) }
	restore := func(payload []byte) resp.Value {
		return run([]byte("RESTORE"), []byte("s"), []byte("0"), payload, []byte("REPLACE"))
	}
	check := func(after string) {
		t.Helper()
		if err := stream.Check(mem, 0, kv.Slots-1); err != nil {
			t.Fatalf("after %s: %v", after, err)
		}
	}
	if restore(seal(value)).Kind != resp.KindSimple {
		if n := line("EXISTS s"); n.Int != 0 {
			t.Fatal("the refused RESTORE left a stream")
		}
		check("a refusal")
		return false
	}
	check("RESTORE")
	payload := line("DUMP s").Str
	before := resp.Print(line("XINFO STREAM s FULL COUNT 0"), 3)
	if got := restore(payload); got.Kind != resp.KindSimple {
		t.Fatalf("dumped as %x, it is refused: %v", payload, got)
	}
	if again := line("DUMP s").Str; !bytes.Equal(again, payload) {
		t.Fatalf("dumps to\n%x and\n%x", payload, again)
	}
	if after := resp.Print(line("XINFO STREAM s FULL COUNT 0"), 3); after != before {
		t.Fatalf("was\n%s\nand is\n%s", before, after)
	}
	for _, command := range []string{
		"XRANGE s - +", "XREVRANGE s + - COUNT 2", "XPENDING s g", "XPENDING s g IDLE 1 - + 10", "XINFO GROUPS s", "XINFO CONSUMERS s g",
		"XREADGROUP GROUP g a COUNT 3 STREAMS s >", "XREADGROUP GROUP g a CLAIM 0 COUNT 3 STREAMS s >",
		"XREADGROUP GROUP g b STREAMS s 0", "XAUTOCLAIM s g b 0 0 COUNT 5", "XADD s IDMP p 1 * f v", "XADD s * f v",
		"XTRIM s MAXLEN ~ 2 DELREF", "XTRIM s MAXLEN 1", "XGROUP DELCONSUMER s g a", "XGROUP DESTROY s g", "XTRIM s MAXLEN 0",
		"APPEND s x", "DEL s",
	} {
		line(command)
		check(command)
	}
	return true
}
