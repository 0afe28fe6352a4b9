package compat

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// errorTexts are the error texts of Redis's stream commands; %s stands for an argument.
// Each is the whole reply to some command of a script in stream/testdata, and the tests
// that play the scripts compare it byte for byte.
var errorTexts = []string{
	// many commands
	"WRONGTYPE Operation against a key holding the wrong kind of value",
	"ERR syntax error",
	"ERR no such key",
	"ERR value is not an integer or out of range",
	"ERR wrong number of arguments for 'xadd' command",
	"ERR wrong number of arguments for 'xgroup|create' command",
	"ERR unknown subcommand 'FOO'. Try XGROUP HELP.",
	"ERR unknown subcommand 'FOO'. Try XINFO HELP.",
	"ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
	"ERR unknown subcommand or wrong number of arguments for 'create'. Try XGROUP HELP.",
	"ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
	"ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
	"ERR Invalid stream ID specified as stream command argument",

	// XADD, XTRIM
	"ERR The ID specified in XADD must be greater than 0-0",
	"ERR The ID specified in XADD is equal or smaller than the target stream top item",
	"ERR The stream has exhausted the last possible ID, unable to add more items",
	"ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
	"ERR The MAXLEN argument must be >= 0.",
	"ERR The LIMIT argument must be >= 0.",
	"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
	"ERR syntax error, LIMIT cannot be used without the special ~ option",
	"ERR syntax error, XTRIM must be called with a trimming strategy",
	"ERR syntax error, IDMP/IDMPAUTO specified multiple times",
	"ERR syntax error, IDMP requires a non-empty producer ID",
	"ERR syntax error, IDMP requires a non-empty idempotent ID",
	"ERR syntax error, IDMPAUTO requires a non-empty producer ID",
	"ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",

	// ranges
	"ERR invalid start ID for the interval",
	"ERR invalid end ID for the interval",

	// XREAD, XREADGROUP
	"ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
	"ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
	"ERR Missing GROUP option for XREADGROUP",
	"ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
	"ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
	"ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
	"NOGROUP No such key '%s' or consumer group '%s' in XREADGROUP with GROUP option",
	"ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
	"ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
	"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
	"ERR min-idle-time is not an integer or out of range",
	"ERR min-idle-time must be a positive integer",
	"ERR timeout is not an integer or out of range",
	"ERR timeout is negative",
	"ERR timeout is out of range",

	// XGROUP
	"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
	"BUSYGROUP Consumer Group name already exists",
	"NOGROUP No such consumer group '%s' for key name '%s'",
	"ERR value for ENTRIESREAD must be positive or -1",

	// XSETID
	"ERR entries_added must be positive",
	"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
	"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
	"ERR The ID specified in XSETID is smaller than the target stream top item",
	"ERR The entries_added specified in XSETID is smaller than the target stream length",

	// XPENDING, XCLAIM, XAUTOCLAIM
	"NOGROUP No such key '%s' or consumer group '%s'",
	"ERR Invalid min-idle-time argument for XCLAIM",
	"ERR Invalid min-idle-time argument for XAUTOCLAIM",
	"ERR Invalid IDLE option argument for XCLAIM",
	"ERR Invalid TIME option argument for XCLAIM",
	"ERR Invalid RETRYCOUNT option argument for XCLAIM",
	"ERR Unrecognized XCLAIM option '%s'",
	"ERR COUNT must be > 0",
	"ERR Insufficient memory, failed allocating transient memory, COUNT too high.",

	// XACKDEL, XDELEX
	"ERR Number of IDs must be a positive integer",
	"ERR The `numids` parameter must match the number of arguments",

	// XCFGSET, XIDMPRECORD
	"ERR At least one parameter must be specified",
	"ERR IDMP-DURATION must be between 1 and 86400 seconds",
	"ERR IDMP-MAXSIZE must be between 1 and 10000 entries",
	"ERR IDMP-DURATION specified multiple times",
	"ERR IDMP-MAXSIZE specified multiple times",
	"ERR producer ID must be non-empty",
	"ERR idempotent ID must be non-empty",
	"ERR No such message in stream",
	"ERR IID already exists for this producer with a different stream ID",

	// XNACK; Redis repeats the code in some of them
	"ERR ERR mode must be SILENT, FAIL, or FATAL",
	"ERR numids must be a positive integer",
	"ERR ERR number of IDs doesn't match numids",
	"ERR ERR Invalid RETRYCOUNT value, must be >= 0",
	"ERR ERR Unrecognized XNACK option '%s'",
	"ERR ERR syntax error, expected IDS keyword",
}

// elsewhere has the texts that no script can provoke, with a test that does.
var elsewhere = map[string]shown{
	"ERR Elements are too large to be stored":                     {"stream/large_test.go", "TestAddTooLarge", "-ERR Elements are too large to be stored"},
	"UNBLOCKED client unblocked via CLIENT UNBLOCK":               {"router/block_test.go", "TestUnblock", "textUnblocked"},
	"CROSSSLOT Keys in request don't hash to the same slot":       {"router/multi_test.go", "multiCases", "textCrossSlot"},
	"EXECABORT Transaction discarded because of previous errors.": {"router/multi_test.go", "multiCases", "-EXECABORT Transaction discarded because of previous errors."},
}

// impossible has the texts of Redis for conditions that Millrace does not have.
var impossible = map[string]string{
	"ERR Failed to create idempotency hash":                                                        "The hash is computed from the arguments and takes no memory.",
	"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": "A blocked call follows the leader of its shard.",
	"CLUSTERDOWN The cluster is down":                                                              "A shard works if it has a leader, whatever the others have. Without one its text is different.",
	"TRYAGAIN Multiple keys request during rehashing of slot":                                      "A slot does not move from one shard to another.",
	"MOVED %s %s": "Any node takes any command.",
	"ASK %s %s":   "Any node takes any command.",
}

// TestErrorTexts checks that every text is the reply to a command of some script.
func TestErrorTexts(t *testing.T) {
	files, err := os.ReadDir(filepath.Join(root, "stream/testdata"))
	if err != nil {
		t.Fatal(err)
	}
	replies := map[string]bool{}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		lines, err := scriptLines(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if strings.HasPrefix(l.reply, "-") {
				replies[l.reply[1:]] = true
			}
		}
	}
	given := func(text string) bool {
		if !strings.Contains(text, "%s") {
			return replies[text]
		}
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(text), "%s", "[^']*") + "$")
		for r := range replies {
			if re.MatchString(r) {
				return true
			}
		}
		return false
	}
	for _, text := range errorTexts {
		if !given(text) {
			t.Errorf("no script has %s", text)
		}
	}
	for text, s := range elsewhere {
		if given(text) {
			t.Errorf("a script has %s", text)
		}
		if err := s.find(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, why := range impossible {
		if why == "" || given(text) {
			t.Errorf("it can happen: %s", text)
		}
	}
}
