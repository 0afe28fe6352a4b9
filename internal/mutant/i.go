//go:build mutant_i

package mutant

const active = 'i'
