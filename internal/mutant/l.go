//go:build mutant_l

package mutant

const active = 'l'
