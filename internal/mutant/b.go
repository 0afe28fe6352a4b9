//go:build mutant_b

package mutant

const active = 'b'
