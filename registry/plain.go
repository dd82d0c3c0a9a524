package registry

import "encoding/binary"

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// plain says that JSON has the text as it is: visible ASCII and blanks, without a quote or a backslash. It looks at eight bytes at once,
// as texts are most of what is read and written here (the tests for a zero byte and for a lesser one are those of "Hacker's
// Delight", H. S. Warren, 2nd ed., 6-1).
func plain[T string | []byte](text T) bool {
	i := 0
	var first [8]byte
	for ; i+8 <= len(text); i += 8 {
		copy(first[:], text[i:i+8])
		if !plainWord(binary.LittleEndian.Uint64(first[:])) {
			return false
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func plainWord(w uint64) bool {
	quote, backslash := w^'"'*eachByte, w^'\\'*eachByte
	// A borrow or a carry can only come from a byte that is itself not plain.
	bad := w | (w + eachByte) // above ~
	bad |= (w - ' '*eachByte) &^ w
	bad |= (quote - eachByte) &^ quote
	bad |= (backslash - eachByte) &^ backslash
	return bad&highBits == 0
}
