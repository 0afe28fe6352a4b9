//go:build !linux

package fault

import "errors"

// fill needs a small disk, which only Linux can mount here.
func fill(string) error { return errors.ErrUnsupported }
