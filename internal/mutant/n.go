//go:build mutant_n

package mutant

const active = 'n'
