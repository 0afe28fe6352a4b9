// Package usage reads usage lines, which list the words of a command. From a line it makes
// the tree of arguments that COMMAND DOCS answers, and the text for people. It does not know
// any command.
//
// A line resembles the usage line of a manual, with names and types added:
//
//	key [NOMKSTREAM] trim:[strategy:(MAXLEN|MINID) threshold [LIMIT count:int]] id...
//
//	word          an argument of that name; "key" is a key, others are strings
//	word:type     an argument of another type: int, double, time (Unix time), pattern, key, string
//	WORD          a literal word; its name is the word in lower case
//	name=WORD     a literal word with another name; "name=" is the empty word
//	WORD item     an item after its token: one argument, with the word as token
//	name:(a b)    a block: arguments that belong together
//	name:(a|b)    a choice; name:(a b | c) when one alternative has several words
//	name:[…]      an optional block or choice
//	[item]        an optional item
//	item...       an item that may be repeated
//	(WORD item)... and [WORD item]...
//	              an item that may be repeated together with its token
package usage
