package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// VerifyTables reads every block of every table and compares it with its checksum.
// Reading all keys would not be enough, because an iterator skips the blocks of deleted
// keys, which a later compaction reads. It returns the first damage.
func (db *DB) VerifyTables() error {
	levels, err := db.SSTables()
	if err != nil {
		return err
	}
	o := new(pebble.Options)
	o.EnsureDefaults()
	verified := make(map[string]bool)
	for _, level := range levels {
		for i := range level {
			name := level[i].BackingSSTNum.String() + ".sst"
			if verified[name] { // virtual tables may share one file
				continue
			}
			verified[name] = true
			if err := db.verifyTable(name, o.MakeReaderOptions()); err != nil {
				return fmt.Errorf("%s database: table %s: %w", db.name, name, err)
			}
		}
	}
	return nil
}

func (db *DB) verifyTable(name string, o sstable.ReaderOptions) (err error) {
	f, err := db.files.Open(db.files.PathJoin(db.dir, name))
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, o)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.ValidateBlockChecksums()
}
