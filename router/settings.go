package router

import (
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"millrace/call"
	"millrace/command"
)

// settings are the parameters that CONFIG SET changes on this node. They begin with a value
// of Limits or a default, hold for this node alone, and end with the process.
type settings struct {
	maxClients atomic.Int64 // connections
	idle       atomic.Int64 // nanoseconds; zero: idle clients are not closed
	// slowMicros is the shortest duration, in microseconds, of a command in the slow log;
	// negative: no command goes there.
	slowMicros atomic.Int64
	slowLen    atomic.Int64 // entries of the slow log
	// latencyMS is the shortest duration, in milliseconds, of a latency event; zero: there
	// are no events.
	latencyMS atomic.Int64
}

// Defaults and bounds of the values of CONFIG SET.
const (
	defaultSlowMicros = 10_000
	defaultSlowLen    = 128
	maxSlowLen        = 10_000
)

func newSettings(lim *Limits) *settings {
	s := new(settings)
	s.maxClients.Store(int64(lim.Connections))
	s.idle.Store(int64(lim.IdleTimeout))
	s.slowMicros.Store(defaultSlowMicros)
	s.slowLen.Store(defaultSlowLen)
	return s
}

// parameter is one parameter of CONFIG GET. CONFIG SET changes it if it has a place (at).
// Otherwise it takes the present value only, or none if the parameter is immutable.
type parameter struct {
	name string
	get  func(r *Router) string
	// at returns the place of the value, nil if it cannot change. unit is the number to
	// store for a 1. For example, timeout is set in seconds and stored in nanoseconds.
	at       func(s *settings) *atomic.Int64
	unit     int64
	min, max int64
	// immutable parameters cannot be set in Redis either.
	immutable bool
}

// fixed is a parameter that has only one value, because Millrace leaves no choice.
func fixed(name, value string) parameter {
	return parameter{name: name, get: func(*Router) string { return value }}
}

// immutable is a parameter that is given when a node is started.
func immutable(name string, get func(r *Router) string) parameter {
	return parameter{name: name, get: get, immutable: true}
}

// number is a parameter that can be set on this node, from low to high in its unit.
func number(name string, unit, low, high int64, at func(s *settings) *atomic.Int64) parameter {
	return parameter{
		name: name, at: at, unit: unit, min: low, max: high,
		get: func(r *Router) string { return strconv.FormatInt(at(r.settings).Load()/unit, 10) },
	}
}

// parameters are those of CONFIG GET by name, but for the replicated stream-* ones,
// which are in the state of the shards.
var parameters = []parameter{
	fixed("appendfsync", "always"),
	fixed("appendonly", "yes"),
	immutable("bind", func(r *Router) string { return host(r.Addr().String()) }),
	{name: "client-output-buffer-limit", get: func(r *Router) string {
		return "normal " + strconv.Itoa(r.lim.OutputHardBytes) + " 0 0 slave 0 0 0 pubsub 0 0 0"
	}},
	{name: "client-query-buffer-limit", get: func(r *Router) string { return strconv.Itoa(r.lim.InFlightBytes) }},
	immutable("cluster-enabled", func(*Router) string { return "yes" }),
	immutable("daemonize", func(*Router) string { return "no" }),
	immutable("databases", func(*Router) string { return "1" }),
	immutable("dir", func(r *Router) string { return r.dir }),
	number("latency-monitor-threshold", 1, 0, math.MaxInt64, func(s *settings) *atomic.Int64 { return &s.latencyMS }),
	fixed("latency-tracking", "yes"),
	number("maxclients", 1, 1, math.MaxUint32, func(s *settings) *atomic.Int64 { return &s.maxClients }),
	{name: "maxmemory", get: func(r *Router) string { return r.maxMemory() }},
	fixed("maxmemory-policy", "noeviction"),
	fixed("notify-keyspace-events", ""),
	immutable("port", func(r *Router) string { return port(r.Addr().String()) }),
	fixed("proto-max-bulk-len", strconv.Itoa(call.MaxBytes)),
	fixed("protected-mode", "yes"),
	fixed("replica-read-only", "yes"),
	fixed("save", ""),
	fixed("slave-read-only", "yes"),
	number("slowlog-log-slower-than", 1, -1, math.MaxInt64, func(s *settings) *atomic.Int64 { return &s.slowMicros }),
	number("slowlog-max-len", 1, 0, maxSlowLen, func(s *settings) *atomic.Int64 { return &s.slowLen }),
	number("timeout", int64(time.Second), 0, math.MaxInt32, func(s *settings) *atomic.Int64 { return &s.idle }),
}

// parameterNamed returns the parameter with a name in lower case; nil if none.
func parameterNamed(name string) *parameter {
	for i := range parameters {
		if parameters[i].name == name {
			return &parameters[i]
		}
	}
	return nil
}

// check reads a new value for p. fault is empty if it can be set, and otherwise the reason
// why not, in Redis's words as far as Redis has the same reason. n is the number to store
// in the parameter's place.
func (p *parameter) check(r *Router, value string) (n int64, fault string) {
	if p.at == nil {
		if now := p.get(r); value != now {
			return 0, "Millrace has it fixed at '" + now + "'"
		}
		return 0, ""
	}
	n, ok := command.ParseInt([]byte(value))
	switch {
	case !ok:
		return 0, "argument couldn't be parsed into an integer"
	case p.name == "maxclients" && n > int64(r.lim.MaxConnections):
		return 0, "The operating system is not able to handle the specified number of clients, try with " + strconv.Itoa(r.lim.MaxConnections)
	case n < p.min || n > p.max:
		return 0, "argument must be between " + strconv.FormatInt(p.min, 10) + " and " + strconv.FormatInt(p.max, 10) + " inclusive"
	}
	return n * p.unit, ""
}
