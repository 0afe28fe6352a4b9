package stream

import (
	"fmt"

	"millrace/resp"
)

// A string has a head and a key with its value. The value is not in the head, because a
// State keeps thousands of heads in memory and a value may be large.

// maxStringBytes bounds the value of a string. It equals the default bound of one call.
const maxStringBytes = 4 << 20

// errStringTooLong is Redis's refusal of a value that is too long.
var errStringTooLong = resp.Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)")

// stringAt returns the head of the string at name, or nil when there is none. It returns a
// refusal when the name holds another type.
func (tx *Tx) stringAt(name []byte) (*Head, *resp.Value, error) {
	h, err := tx.head(name)
	if err != nil || h == nil {
		return nil, nil, err
	}
	if h.Type != TypeString {
		return nil, &wrongType, nil
	}
	return h, nil, nil
}

// valueKey returns the key of the value of the string h. It is valid until the next key is
// built.
func (tx *Tx) valueKey(h *Head) []byte {
	tx.keyBuf = append(append(tx.keyBuf[:0], h.prefix...), kindValue)
	return tx.keyBuf
}

// stringValue returns a copy of the value of the string h.
func (tx *Tx) stringValue(h *Head) ([]byte, error) {
	v, ok, err := tx.kv.Get(tx.valueKey(h))
	if err == nil && (!ok || uint64(len(v)) != h.Length) {
		err = fmt.Errorf("its head says %d bytes, but the value has %d (found: %t)", h.Length, len(v), ok)
	}
	if err != nil {
		return nil, fmt.Errorf("read the value of %q: %w", h.Name, err)
	}
	return v, nil
}

// bulkAt returns the value of the string at name as a reply, or null when there is none,
// and its head.
func (tx *Tx) bulkAt(name []byte) (v resp.Value, h *Head, refusal *resp.Value, err error) {
	h, refusal, err = tx.stringAt(name)
	if err != nil || refusal != nil || h == nil {
		return resp.Null(), nil, refusal, err
	}
	b, err := tx.stringValue(h)
	return resp.Bulk(b), h, nil, err
}

// putString makes name a string with this value and deadline, whatever it holds. h is the
// current head of name, or nil. A zero expireAtMS means no deadline. When expireAtMS has
// passed, the name is only removed.
func (tx *Tx) putString(name []byte, h *Head, value []byte, expireAtMS int64) error {
	expired := expireAtMS != 0 && expireAtMS <= tx.NowMS
	if h != nil && (h.Type != TypeString || expired) {
		if err := tx.remove(h); err != nil {
			return err
		}
		h = nil
	}
	if expired {
		return nil
	}
	if h == nil {
		h = newStringHead(append([]byte(nil), name...))
		if err := tx.register(h); err != nil {
			return err
		}
	} else {
		tx.modified(h)
	}
	h.Length = uint64(len(value))
	if err := tx.batch.Set(tx.valueKey(h), value); err != nil {
		return fmt.Errorf("put the value of %q: %w", name, err)
	}
	return tx.setDeadline(h, expireAtMS)
}
