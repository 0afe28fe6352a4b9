//go:build mutant_h

package mutant

const active = 'h'
