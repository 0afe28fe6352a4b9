package resp

import (
	"errors"
	"math"
)

// Limits bound the memory that one connection can make its [Reader] use. A zero field
// stands for the value in [DefaultLimits].
type Limits struct {
	MaxArgs    int // words of one command
	MaxBulk    int // bytes of one word
	MaxInline  int // bytes of an inline command, or of a line with a length
	MaxCommand int // bytes of one command in its encoded form

	// Unauthenticated selects Redis's error texts for clients that have not
	// authenticated, when MaxArgs or MaxBulk is exceeded.
	Unauthenticated bool
}

// DefaultLimits are for authenticated clients. Redis allows words of 512 MiB, but no
// command of Millrace accepts a word of nearly that size.
var DefaultLimits = Limits{
	MaxArgs:    1 << 20,
	MaxBulk:    64 << 20,
	MaxInline:  64 << 10,
	MaxCommand: 72 << 20,
}

// PreAuthLimits are for clients that have not authenticated yet. MaxArgs, MaxBulk and
// MaxInline are those of Redis.
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
	// firstBuffer is the size of a new buffer, in bytes, and the size to which a buffer
	// returns after a large command. So an idle connection uses no more.
	firstBuffer = 4 << 10
	// steadyBuffer is the size to which a buffer grows when a client sends many commands
	// at once. It grows further only for a single larger command or reply.
	steadyBuffer = 64 << 10
	// steadyWords bounds the word positions for which a Reader keeps room between
	// commands.
	steadyWords = 1 << 10

	// FillLimit bounds the bytes that [Reader.Fill] collects.
	FillLimit = 64 << 10

	// MaxDepth bounds the nesting of arrays in a reply that a client reads.
	MaxDepth = 64

	// maxLen is the greatest length that Redis accepts.
	maxLen = math.MaxInt32
)

// ErrBufferFull is returned by [Reader.Fill] when FillLimit bytes are buffered already.
var ErrBufferFull = errors.New("resp: input buffer is full")

// ErrIncomplete is returned by ParseValue when the bytes end before the value does.
var ErrIncomplete = errors.New("resp: incomplete value")

// ProtocolError means that a peer violated the protocol or a limit. The bytes that follow
// cannot be interpreted, so the connection must be closed.
type ProtocolError struct {
	Text string // Redis's text, such as "invalid multibulk length"
}

func (e *ProtocolError) Error() string { return "Protocol error: " + e.Text }

// Reply returns the error reply that Redis sends before it closes the connection.
func (e *ProtocolError) Reply() Value { return Err("ERR " + e.Error()) }

// The errors that have a constant text.
var (
	errMultibulkLen    = &ProtocolError{"invalid multibulk length"}
	errBulkLen         = &ProtocolError{"invalid bulk length"}
	errUnauthMultibulk = &ProtocolError{"unauthenticated multibulk length"}
	errUnauthBulk      = &ProtocolError{"unauthenticated bulk length"}
	errMultibulkLine   = &ProtocolError{"too big mbulk count string"}
	errBulkLine        = &ProtocolError{"too big bulk count string"}
	errInlineLen       = &ProtocolError{"too big inline request"}
	errQuotes          = &ProtocolError{"unbalanced quotes in request"}
	// Redis has no text for these two. It closes the connection without a reply after the
	// first, and does not check the bytes of the second.
	errCommandLen = &ProtocolError{"too big request"}
	errBulkEnd    = &ProtocolError{"bulk string does not end with CRLF"}
)
