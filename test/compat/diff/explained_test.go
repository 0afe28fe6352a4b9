package diff

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/resp"
)

// newer has the fields of XINFO that older versions of Redis lack, with the version that
// introduced them.
var newer = map[string]version{
	"active-time": v72, "inactive": v72,
	"idmp-duration": v86, "idmp-maxsize": v86, "pids-tracked": v86, "iids-tracked": v86, "iids-added": v86, "iids-duplicates": v86,
}

// drop removes from a reply the fields that the oracle's version lacks.
func drop(v *resp.Value, oracle version) {
	if v.Kind != resp.KindArray && v.Kind != resp.KindMap {
		return
	}
	var kept []resp.Value
	for i := 0; i < len(v.Elems); i++ {
		e := v.Elems[i]
		if since, ok := newer[string(e.Str)]; ok && e.Kind == resp.KindBulk && since > oracle {
			i++
			continue
		}
		drop(&e, oracle)
		kept = append(kept, e)
	}
	v.Elems = kept
}

// difference is an intended difference between the replies of Millrace and Redis.
type difference struct {
	before   version        // applies to oracles older than this; zero: to all
	restored bool           // applies only after an exchange of dumps
	command  *regexp.Regexp // matches the arguments, joined by spaces
	// alike makes the replies equal in the part that the reason explains, and in no other.
	alike  func(ours, theirs *resp.Value)
	reason string
}

// explained are all intended differences.
var explained = []difference{
	{
		command: regexp.MustCompile(`(?i)^XINFO STREAM`),
		alike: func(ours, theirs *resp.Value) {
			a, b := field(ours, "pids-tracked"), field(theirs, "pids-tracked")
			if a != nil && b != nil && a.Int < b.Int {
				a.Int = b.Int
			}
		},
		reason: "An XADD with IDMP that is refused changes nothing here. Redis keeps the producer, without any IDs.",
	},
	{
		restored: true,
		command:  regexp.MustCompile(`(?i)^XINFO (CONSUMERS|STREAM)`),
		alike:    activity,
		reason: "Millrace dumps in the form of Redis 7.0, which has no active-time. In Redis, a consumer restored from it was " +
			"active when it was last seen.",
	},
	{
		before:  v84,
		command: regexp.MustCompile(`(?i)^XINFO (GROUPS|STREAM)`),
		alike:   progress,
		reason: "Releases up to 8.4 changed the rules of entries-read and lag: when they are valid, that ENTRIESREAD is " +
			"capped to entries-added, and that an empty stream has no lag.",
	},
	{
		before:  v72,
		command: regexp.MustCompile(`(?i)^XSETID`),
		alike: texts("-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
			"-ERR The ID specified in XSETID is smaller than the target stream top item"),
		reason: "Newer releases compare with max-deleted-entry-id first.",
	},
	{
		before:  v72,
		command: regexp.MustCompile(`(?i)^XADD .*-\*`),
		alike: texts("-ERR The ID specified in XADD is equal or smaller than the target stream top item",
			"-ERR Elements are too large to be stored"),
		reason: "Redis 7.0 gives the wrong reason when the sequence of an ID ms-* is used up.",
	},
	{
		before:  v72,
		command: regexp.MustCompile(`(?i)^Z`),
		alike:   doubles,
		reason:  "Since 7.2 a double has no more digits than it takes, and a whole one no exponent.",
	},
	{
		command: regexp.MustCompile(`(?i)^Z(ADD|INCRBY) `),
		alike: func(ours, theirs *resp.Value) {
			if ours.Float == 0 && theirs.Float == 0 && ours.Kind == theirs.Kind && (ours.Kind == resp.KindDouble || string(theirs.Str) == "-0") {
				*ours = *theirs
			}
		},
		reason: "A score of -0 is 0. Redis answers it as it was given, and keeps it so in a large sorted set.",
	},
	{
		before:  v72,
		command: regexp.MustCompile(`(?i)^Z(REV)?RANK `),
		alike: func(ours, theirs *resp.Value) {
			if strings.HasPrefix(theirs.String(), "-ERR wrong number of arguments for 'z") {
				*ours = *theirs
			}
		},
		reason: "WITHSCORE is newer.",
	},
	{
		before:  v82,
		command: regexp.MustCompile(`(?i)^[HZ]SCAN `),
		alike: func(ours, theirs *resp.Value) {
			wrongType := strings.HasPrefix(theirs.String(), "-WRONGTYPE ")
			if ours.String() == "-ERR invalid cursor" && (theirs.Kind == resp.KindArray || wrongType) {
				*ours = *theirs
			}
		},
		reason: "Redis took a cursor below zero until 8.0, and then looked at the key.",
	},
	{
		before:  v74,
		command: regexp.MustCompile(`(?i)^XREADGROUP .*\+`),
		alike: texts("-ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "+
			"specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
			"-ERR Invalid stream ID specified as stream command argument"),
		reason: "The ID + is known since 7.4.",
	},
	{
		before:  v74,
		command: regexp.MustCompile(`(?i)^XREAD`),
		alike: texts("-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
			"-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."),
		reason: "The text changed in 7.4.",
	},
	{
		before:  v74,
		command: regexp.MustCompile(`(?i)^XREAD .* \+( |$)`),
		alike: func(ours, theirs *resp.Value) {
			if theirs.String() == "-ERR Invalid stream ID specified as stream command argument" {
				*ours = *theirs
			}
		},
		reason: "The ID + is known since 7.4.",
	},
	{
		before:  v74,
		command: regexp.MustCompile(`(?i)^XREAD`),
		alike: texts("-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
			"-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."),
		reason: "The text changed in 7.4.",
	},
}

// doubles makes numbers that are written with more or fewer digits equal.
func doubles(ours, theirs *resp.Value) {
	if len(ours.Elems) != len(theirs.Elems) {
		return
	}
	for i := range ours.Elems {
		doubles(&ours.Elems[i], &theirs.Elems[i])
	}
	a, err := strconv.ParseFloat(string(ours.Str), 64)
	b, err2 := strconv.ParseFloat(string(theirs.Str), 64)
	if ours.Kind == resp.KindBulk && theirs.Kind == resp.KindBulk && err == nil && err2 == nil && a == b {
		ours.Str = theirs.Str
	}
}

// progress copies entries-read and lag of all groups from b to a.
func progress(a, b *resp.Value) {
	for i := range min(len(a.Elems), len(b.Elems)) {
		for _, f := range []string{"entries-read", "lag"} {
			if x, y := field(&a.Elems[i], f), field(&b.Elems[i], f); x != nil && y != nil {
				*x = *y
			}
		}
		progress(&a.Elems[i], &b.Elems[i])
	}
}

// activity copies the times at which consumers were active from b to a.
func activity(a, b *resp.Value) {
	for i := range min(len(a.Elems), len(b.Elems)) {
		for _, f := range []string{"inactive", "active-time"} {
			if x, y := field(&a.Elems[i], f), field(&b.Elems[i], f); x != nil && y != nil {
				*x = *y
			}
		}
		activity(&a.Elems[i], &b.Elems[i])
	}
}

// texts returns an alike that makes the text ours of Millrace equal to theirs of Redis.
func texts(ours, theirs string) func(a, b *resp.Value) {
	return func(a, b *resp.Value) {
		if a.String() == ours && b.String() == theirs {
			*a = *b
		}
	}
}

// lateBlock is the duration of a session from which a BLOCK of one millisecond may end
// without having read the stream. On a busy machine, Millrace answers null if no shard has
// answered a second after the time was over. Redis reads first, however late it is.
const lateBlock = time.Second

// isLate reports whether ours is such a null. The replies after it are not compared.
func isLate(argv []string, ours resp.Value) bool {
	blocks := slices.ContainsFunc(argv, func(w string) bool { return is(w, "BLOCK") })
	return strings.HasPrefix(strings.ToUpper(argv[0]), "XREAD") && blocks && ours.IsNull()
}

// wentBack reports whether ours refuses an XSETID to an ID below the greatest deleted one.
// Redis before 7.2 allows it on an empty stream. The replies after it are not compared.
func wentBack(oracle version, argv []string, ours resp.Value) bool {
	return oracle < v72 && is(argv[0], "XSETID") &&
		ours.String() == "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
}

// isExplained reports whether two replies to a command are equal apart from intended
// differences. restored tells that dumps were exchanged before.
func isExplained(oracle version, restored bool, argv []string, ours, theirs resp.Value) bool {
	words := strings.Join(argv, " ")
	for _, d := range explained {
		if (d.before == 0 || oracle < d.before) && (restored || !d.restored) && d.command.MatchString(words) {
			d.alike(&ours, &theirs)
		}
	}
	return ours.String() == theirs.String()
}
