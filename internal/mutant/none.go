//go:build !(mutant_a || mutant_b || mutant_c || mutant_d || mutant_e || mutant_f || mutant_g || mutant_h || mutant_i || mutant_j || mutant_k || mutant_l || mutant_m || mutant_n || mutant_s || mutant_t)

package mutant

const active = 0
