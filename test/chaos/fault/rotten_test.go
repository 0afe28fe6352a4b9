package fault

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWALUsed checks, with a log that Pebble wrote, that walUsed stops at the chunks of an
// older log.
func TestWALUsed(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{FS: vfs.Default, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	for range 18 { // less than the first memtable, so that Pebble begins no second log
		if err := db.Set([]byte("k"), bytes.Repeat([]byte("v"), 10_000), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	newest := slices.Max(logs)
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	var number uint32
	if _, err := fmt.Sscanf(filepath.Base(newest), "%d.log", &number); err != nil {
		t.Fatal(err)
	}
	used := walUsed(b, number)
	if used < 180_000 || used > 190_000 {
		t.Errorf("180,000 bytes take %d", used)
	}
	if live, err := liveWAL(newest); err != nil || live != used/2 {
		t.Errorf("%d of %d are live: %v", live, used, err)
	}
	old := bytes.Repeat([]byte{1}, 100)
	binary.LittleEndian.PutUint32(old[7:], number-1)
	if got := walUsed(append(b[:used:used], old...), number); got != used {
		t.Errorf("with the rest of an older log %d bytes are used, want %d", got, used)
	}
	if got := walUsed(b, number+1); got != 0 {
		t.Errorf("%d bytes of another log's chunks count as used", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamage checks that every kind of damage changes the live bytes of a file and no
// others.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "file")
	whole := bytes.Repeat([]byte("x"), 3*zeroed)
	const live = 2*zeroed + 100
	cuts := 0
	for i := range 300 {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		what, err := damage(path, live, i%2 == 0, rng)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		switch {
		case err != nil:
			t.Fatal(err)
		case len(b) < len(whole):
			if cuts++; i%2 != 0 || len(b) >= live {
				t.Errorf("%s: %d bytes are left", what, len(b))
			}
		case bytes.Equal(b, whole) || !bytes.Equal(b[live:], whole[live:]):
			t.Errorf("%s: no byte changed, or one that is not live", what)
		}
	}
	if cuts == 0 {
		t.Error("no file was cut")
	}
}
