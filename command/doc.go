// Package command holds the metadata of commands: their names, number of words, flags,
// key positions and documentation. Two tables are made of it. Package stream's lists the
// commands that run on the state of a shard; package router's adds the commands that the
// router answers itself.
//
// One description serves every question about a command. For example, the key positions
// of XREADGROUP decide which shard it goes to, which keys an access rule is asked about,
// and what COMMAND GETKEYS answers.
//
// The package also reads the words that both sides have to understand: integers, options,
// and the arguments of XREAD and XREADGROUP (see [ParseRead]). It sees words only, never
// the state.
package command
