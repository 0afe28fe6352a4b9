//go:build mutant_t

package mutant

const active = 't'
