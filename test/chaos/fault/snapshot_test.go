package fault

import (
	"millrace/kv"
	"strings"
	"testing"
)

func TestMetricOf(t *testing.T) {
	page := `# HELP millrace_shard_last_index Last record in this replica's log.
millrace_shard_last_index{shard="1"} 17
millrace_shard_last_index{shard="11"} 1.234567e+06
`
	if v, err := metricOf(strings.NewReader(page), "shard_last_index", 1); v != 17 || err != nil {
		t.Error(v, err)
	}
	if v, err := metricOf(strings.NewReader(page), "shard_last_index", 11); v != 1_234_567 || err != nil {
		t.Error(v, err)
	}
	if _, err := metricOf(strings.NewReader(page), "shard_last_index", 2); err == nil {
		t.Error("a missing shard has a metric")
	}
}

func TestInstalled(t *testing.T) {
	log := `time=x level=INFO msg="raft: snapshot" node=1 shard=2 index=5
time=x level=INFO msg="installed a snapshot" node=1 shard=12 index=5 bytes=7
`
	if !installed(log, 12) || installed(log, 2) || installed(log, 1) {
		t.Error("a line counts for another shard or another message")
	}
}

func TestKeyOfShard(t *testing.T) {
	for _, s := range []ledShard{{id: 1, first: 0, last: 99}, {id: 2, first: 16000, last: kv.Slots - 1}} {
		if slot := int(kv.Slot([]byte(s.key()))); slot < s.first || slot > s.last {
			t.Errorf("%+v: %s is in slot %d", s, s.key(), slot)
		}
	}
}
