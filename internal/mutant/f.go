//go:build mutant_f

package mutant

const active = 'f'
