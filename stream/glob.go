package stream

// Match reports whether s matches a glob pattern. "*" matches any run of bytes, "?" any
// byte, "[a-c]" one of these bytes, "[^a-c]" any other byte; "\" makes the next byte
// literal. The answer equals that of Redis's stringmatchlen (redis src/util.c) for odd
// patterns too: "*" does not match the empty string, an unclosed "[" ends with the
// pattern, and the ends of a range are signed bytes in any order.
//
// Redis tries every length for every "*". Match tries other lengths for the last "*" only.
// The result is the same, because each element between two stars matches exactly one byte.
// The work is therefore at most len(pattern) × len(s).
func Match(pattern, s []byte) bool {
	ok, _ := match(pattern, s)
	return ok
}

// maxPattern bounds the patterns of SCAN and KEYS, in bytes.
const maxPattern = 4096

// match is Match, and also returns the work that it did: the number of bytes of pattern
// and of s that it looked at.
func match(pattern, s []byte) (ok bool, work int) {
	if len(s) == 0 {
		return len(pattern) == 0, 1
	}
	p, i := 0, 0
	star, from := -1, 0 // the index after the last star, and the place in s it is tried at
	for i < len(s) {
		work++
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, i
			if p == len(pattern) {
				return true, work
			}
			continue
		}
		if p < len(pattern) {
			next, fits := matchByte(pattern, p, s[i])
			work += next - p
			if fits {
				p = next
				i++
				continue
			}
		}
		if star < 0 {
			return false, work
		}
		from++
		p, i = star, from
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern), work + 1
}

// matchByte matches b against the element at pattern[p], which is not a star, and returns
// the index of the next element.
func matchByte(pattern []byte, p int, b byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchClass(pattern, p+1, b)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, pattern[p] == b
}

// matchClass matches b against the class whose "[" is at pattern[p-1], and returns the
// index after the class.
func matchClass(pattern []byte, p int, b byte) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	found := false
	for ; p < len(pattern) && (pattern[p] != ']'); p++ {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			found = found || pattern[p] == b
		case p+2 < len(pattern) && pattern[p+1] == '-':
			lo, hi := int8(pattern[p]), int8(pattern[p+2])
			found = found || min(lo, hi) <= int8(b) && int8(b) <= max(lo, hi)
			p += 2
		default:
			found = found || pattern[p] == b
		}
	}
	return min(p+1, len(pattern)), found != not
}
