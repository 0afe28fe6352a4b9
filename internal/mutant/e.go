//go:build mutant_e

package mutant

const active = 'e'
