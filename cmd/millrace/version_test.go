package main

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/internal/version"
)

func TestVersion(t *testing.T) {
	v := version.Get()
	code, text, _ := execute(t, "version")
	for _, want := range []string{"millrace " + v.Version + "\n", "commit " + v.Revision() + " ", v.Platform + "\n"} {
		if code != 0 || !strings.Contains(text, want) {
			t.Errorf("code %d, %q not in\n%s", code, want, text)
		}
	}
	code, out, _ := execute(t, "version", "-o", "json")
	var got version.Info
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got != v {
		t.Errorf("code %d, error %v, %s", code, err, out)
	}
	if code, _, stderr := execute(t, "version", "-o", "xml"); code != 2 || !strings.Contains(stderr, "xml") {
		t.Errorf("-o xml: code %d, %q", code, stderr)
	}
}
