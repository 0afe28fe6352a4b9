//go:build mutant_a

package mutant

const active = 'a'
