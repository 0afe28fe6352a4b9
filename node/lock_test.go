package node

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	f, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The lock belongs to the open file, so even this process cannot lock dir again.
	if _, err := lockDir(dir); !errors.Is(err, ErrInUse) || ExitCode(err) != 1 {
		t.Errorf("locked twice: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatalf("after the lock was released: %v", err)
	}
	again.Close()
	if _, err := lockDir(filepath.Join(dir, "nowhere")); err == nil || errors.Is(err, ErrInUse) {
		t.Errorf("a missing directory: %v", err)
	}
}
