package resp

import (
	"errors"
	"math"
)

// Limits bound what one connection may make its [Reader] hold. A field that is
// zero has the value of [DefaultLimits].
type Limits struct {
	MaxArgs    int // words of one command
	MaxBulk    int // bytes of one word
	MaxInline  int // bytes of an inline command, or of a line that announces a length
	MaxCommand int // bytes of one whole command as sent

	// Unauthenticated makes the refusals of MaxArgs and MaxBulk say that the client
	// has not authenticated, as Redis does.
	Unauthenticated bool
}

// DefaultLimits are for clients that may run commands. Redis allows words of
// 512 MiB; no command of Millrace takes one near that size.
var DefaultLimits = Limits{
	MaxArgs:    1 << 20,
	MaxBulk:    64 << 20,
	MaxInline:  64 << 10,
	MaxCommand: 72 << 20,
}

// PreAuthLimits are for clients that have yet to authenticate: Redis's own.
var PreAuthLimits = Limits{
	MaxArgs:         10,
	MaxBulk:         16 << 10,
	MaxInline:       64 << 10,
	MaxCommand:      256 << 10,
	Unauthenticated: true,
}

func (l Limits) orDefaults() Limits {
	set := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	set(&l.MaxArgs, DefaultLimits.MaxArgs)
	set(&l.MaxBulk, DefaultLimits.MaxBulk)
	set(&l.MaxInline, DefaultLimits.MaxInline)
	set(&l.MaxCommand, DefaultLimits.MaxCommand)
	return l
}

const (
	// firstBuffer is the size of a buffer at first, and again once it held a large
	// command: an idle connection costs no more.
	firstBuffer = 4 << 10
	// steadyBuffer is how far a buffer grows because a client sends much at once. It
	// grows further only for a single command or reply larger than that.
	steadyBuffer = 64 << 10
	// steadyWords is how many word positions a Reader keeps room for.
	steadyWords = 1 << 10

	// FillLimit is how many bytes [Reader.Fill] collects at most.
	FillLimit = 64 << 10

	// MaxDepth is how deep the arrays of a reply may be nested for a client.
	MaxDepth = 64

	// maxLen is the greatest length Redis reads as one.
	maxLen = math.MaxInt32
)

// ErrBufferFull says that [Reader.Fill] holds FillLimit bytes already.
var ErrBufferFull = errors.New("resp: input buffer is full")

// ErrIncomplete says that the bytes end before the value does.
var ErrIncomplete = errors.New("resp: incomplete value")

// ProtocolError says that a peer broke the protocol or a limit. Nothing after it
// can be understood, so the connection has to be closed.
type ProtocolError struct {
	Text string // as Redis words it: "invalid multibulk length"
}

func (e *ProtocolError) Error() string { return "Protocol error: " + e.Text }

// Reply is what Redis sends to the client before it closes the connection.
func (e *ProtocolError) Reply() Value { return Err("ERR " + e.Error()) }

// The refusals that are the same every time.
var (
	errMultibulkLen    = &ProtocolError{"invalid multibulk length"}
	errBulkLen         = &ProtocolError{"invalid bulk length"}
	errUnauthMultibulk = &ProtocolError{"unauthenticated multibulk length"}
	errUnauthBulk      = &ProtocolError{"unauthenticated bulk length"}
	errMultibulkLine   = &ProtocolError{"too big mbulk count string"}
	errBulkLine        = &ProtocolError{"too big bulk count string"}
	errInlineLen       = &ProtocolError{"too big inline request"}
	errQuotes          = &ProtocolError{"unbalanced quotes in request"}
	// Redis has no text for these two: it drops the client without a word over the
	// first, and does not look at the bytes of the second.
	errCommandLen = &ProtocolError{"too big request"}
	errBulkEnd    = &ProtocolError{"bulk string does not end with CRLF"}
)
