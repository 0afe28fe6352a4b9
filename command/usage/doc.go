// Package usage reads the lines that say which words a command takes, and makes of them
// the tree of arguments that COMMAND DOCS answers and the text that people read. It
// knows nothing of any command.
//
// A line is what a manual would print, with names and types where a program needs them:
//
//	key [NOMKSTREAM] trim:[strategy:(MAXLEN|MINID) threshold [LIMIT count:int]] id...
//
//	word          an argument of that name; "key" is a key, others are strings
//	word:type     an argument of another type: int, double, time (Unix time), pattern, key, string
//	WORD          a word to be typed as it is; its name is the word in lower case
//	name=WORD     the same with another name; "name=" is the empty word
//	WORD item     an item that the word announces: one argument, with the word as token
//	name:(a b)    arguments that belong together
//	name:(a|b)    one of them; name:(a b | c) where one has several words
//	name:[…]      the same, and may be left out
//	[item]        an item that may be left out
//	item...       an item that may be there again and again
//	(WORD item)... and [WORD item]...
//	              the same, with the word each time
package usage
