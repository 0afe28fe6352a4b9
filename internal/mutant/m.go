//go:build mutant_m

package mutant

const active = 'm'
