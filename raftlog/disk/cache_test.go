package disk

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestMemTablesLeaveRoomForBlocks scans databases twice after they have filled many
// memtables. The second scan must find all blocks in the cache, shared or not.
func TestMemTablesLeaveRoomForBlocks(t *testing.T) {
	const memTableBytes, blockBytes, databases = 1 << 20, 1 << 20, 2
	for _, shared := range []bool{true, false} {
		o := Options{MemTableBytes: memTableBytes}
		if shared {
			o.Cache = NewCache(blockBytes, memTableBytes, databases)
			defer o.Cache.Unref()
		}
		var dbs []*DB
		for range databases {
			o.FS = vfs.NewMem()
			db := mustOpen(t, o)
			defer db.Close()
			writeMemTables(t, db, 8, memTableBytes)
			dbs = append(dbs, db)
		}
		for _, db := range dbs {
			scanSome(t, db)
			before := db.Metrics().BlockCache
			scanSome(t, db)
			after := db.Metrics().BlockCache
			if before.Size == 0 || after.Misses != before.Misses || after.Hits == before.Hits {
				t.Errorf("shared %v: %d bytes of blocks; the second scan: %d hits, %d misses",
					shared, before.Size, after.Hits-before.Hits, after.Misses-before.Misses)
			}
		}
	}
}

// writeMemTables writes enough values to fill n memtables, and flushes the last.
func writeMemTables(t *testing.T, db *DB, n, bytesEach int) {
	t.Helper()
	const valueBytes = 1 << 10
	value := bytes.Repeat([]byte{1}, valueBytes)
	for i := range n * bytesEach / valueBytes {
		if err := db.Set(binary.BigEndian.AppendUint64(nil, uint64(i)), value, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
}

// scanSome reads the first hundred keys.
func scanSome(t *testing.T, db *DB) {
	t.Helper()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ok := it.First(); ok && n < 100; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil || n != 100 {
		t.Fatalf("read %d keys: %v", n, err)
	}
}
