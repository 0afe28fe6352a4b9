//go:build mutant_g

package mutant

const active = 'g'
