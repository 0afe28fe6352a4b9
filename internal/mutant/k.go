//go:build mutant_k

package mutant

const active = 'k'
