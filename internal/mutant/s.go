//go:build mutant_s

package mutant

const active = 's'
