//go:build mutant_c

package mutant

const active = 'c'
