//go:build mutant_d

package mutant

const active = 'd'
