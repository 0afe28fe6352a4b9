//go:build mutant_j

package mutant

const active = 'j'
