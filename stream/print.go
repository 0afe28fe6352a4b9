package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
	"strings"
)

// PrintRecord describes a key of the state and its value in words, for the dump tool, for
// tests and for errors. It shows a value that it cannot read in hex, with the reason.
func PrintRecord(key, value []byte) string {
	text, err := printValue(key, value)
	if err != nil {
		text = fmt.Sprintf("%x (%v)", value, err)
	}
	return PrintKey(key) + ": " + text
}

// CheckRecord returns an error when it cannot read a key of the state or its value.
func CheckRecord(key, value []byte) error {
	_, err := printValue(key, value)
	return err
}

// printValue describes the value of any key of the state.
func printValue(key, value []byte) (string, error) {
	if len(key) < 5 {
		return "", fmt.Errorf("stream: key of %d bytes", len(key))
	}
	n := int(binary.BigEndian.Uint16(key[2:]))
	if n == kv.SystemLen {
		return printSystem(key[4], value)
	}
	if n == indexLen {
		if _, _, ok := parseIndexKey(key); !ok || len(value) != 0 {
			return "", fmt.Errorf("stream: index key of %d bytes with a value of %d", len(key), len(value))
		}
		return "-", nil
	}
	if len(key) < 5+n {
		return "", fmt.Errorf("stream: key of %d bytes with a name of %d", len(key), n)
	}
	name, kind, rest := key[4:4+n], key[4+n], key[5+n:]
	switch kind {
	case kindGroup, kindName, kindConsumer, kindPending, kindOwned, kindDue:
		return printGroupValue(kind, rest, value)
	case kindField, kindMember, kindScore:
		return printElement(kind, value)
	case kindIID, kindIIDOrder, kindIIDAge, kindProducer:
		return printIDMPRecord(&Head{Name: name}, kind, value)
	case kindValue:
		return fmt.Sprintf("%q", value), nil
	case kindHead:
		h, err := decodeHead(name, value)
		if err != nil {
			return "", err
		}
		return h.print(), nil
	case kindEntry:
		return printEntry(value)
	case kindChunk:
		if len(rest) != idBytes {
			return "", fmt.Errorf("stream: chunk key of %d bytes", len(rest))
		}
		c, err := decodeChunk(idOfKey(rest), value)
		return c.print(), err
	}
	return "", fmt.Errorf("stream: unknown kind %q", kind)
}

// printGroupValue describes the value of a group or of one of its parts. rest is the key
// after the kind.
func printGroupValue(kind byte, rest, value []byte) (string, error) {
	switch kind {
	case kindGroup:
		g, err := decodeGroup(rest, value)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("gid=%d delivered=%v entriesRead=%d pending=%d consumers=%d nextCID=%d released=%d minPending=%v maxPending=%v minDue=%#x,%v loose=%d%s",
			g.gid, g.delivered, g.entriesRead, g.pending, g.consumers, g.nextCID, g.released, g.minPending, g.maxPending, g.minDue, g.minDueID, g.loose, g.printLeftovers()), nil
	case kindName:
		if len(value) != 8 {
			return "", fmt.Errorf("stream: number of a consumer of %d bytes", len(value))
		}
		return fmt.Sprintf("cid=%d", binary.BigEndian.Uint64(value)), nil
	case kindConsumer:
		c, err := decodeConsumer(value)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%q cid=%d seenMS=%d activeMS=%d pending=%d minOwned=%v loose=%d",
			c.name, c.cid, c.seenMS, c.activeMS, c.pending, c.minOwned, c.loose), nil
	case kindPending:
		p, err := decodePending(value)
		return fmt.Sprintf("cid=%d time=%d deliveries=%d", p.cid, p.time, p.deliveries), err
	}
	if len(value) != 0 { // of kindOwned or kindDue
		return "", fmt.Errorf("stream: an index has a value")
	}
	return "-", nil
}

func printSystem(tag byte, value []byte) (string, error) {
	switch {
	case (tag == kv.SystemExpiry || tag == kv.SystemCleanup) && len(value) == 0:
		return "-", nil
	case tag == kv.SystemExpiry:
		return "", fmt.Errorf("stream: a deadline has a value")
	case tag != kv.SystemState:
		return fmt.Sprintf("%x", value), nil // package shard knows its format
	}
	s, err := decodeSystem(value)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("keys=%d modified=%d expires=%d dueMS=%d cleanups=%d nodeMaxEntries=%d nodeMaxBytes=%d idmpSeconds=%d idmpMaxSize=%d",
		s.keys, s.modified, s.expires, s.dueMS, s.cleanups,
		s.settings.chunkMaxEntries, s.settings.chunkMaxBytes, s.settings.idmpSeconds, s.settings.idmpMaxSize), nil
}

func printEntry(value []byte) (string, error) {
	words, err := entryWords(value)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i := 0; i < len(words); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%q=%q", words[i], words[i+1])
	}
	return b.String(), nil
}

func (c *chunk) print() string {
	return fmt.Sprintf("last=%v total=%d live=%d bytes=%d fields=%016x", c.Last, c.Total, c.Live, c.Bytes, c.Fields)
}

func (h *Head) print() string {
	if h.hasElements() {
		return fmt.Sprintf("%v expireAtMS=%d modified=%d length=%d added=%d %s", h.Type, h.ExpireAtMS, h.Modified, h.Length, h.Added, h.Elements.print(h.Type))
	}
	if h.Type == TypeString {
		return fmt.Sprintf("%v expireAtMS=%d modified=%d length=%d", h.Type, h.ExpireAtMS, h.Modified, h.Length)
	}
	m := &h.IDMP
	return fmt.Sprintf("%v expireAtMS=%d modified=%d length=%d added=%d last=%v maxDeleted=%v first=%v lastEntry=%v groups=%d nextGID=%d pending=%d nodes=%d "+
		"tail=[%v %s] idmp=[seconds=%d maxSize=%d pids=%d iids=%d added=%d duplicates=%d nextSeq=%d oldestSeq=%d]",
		h.Type, h.ExpireAtMS, h.Modified, h.Length, h.Added, h.Last, h.MaxDeleted, h.First, h.LastEntry, h.GroupCount, h.NextGID, h.Pending, h.Chunks,
		h.Tail.First, h.Tail.print(), m.Seconds, m.MaxSize, m.PIDs, m.IIDs, m.Added, m.Duplicates, m.NextSeq, m.OldestSeq)
}
