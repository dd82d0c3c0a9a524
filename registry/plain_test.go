package registry

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func plainByByte(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Eight bytes at once are judged as each for itself: every byte at every place, beside any other.
func TestPlain(t *testing.T) {
	for c := range 256 {
		for length := range 20 {
			for at := range length {
				text := bytes.Repeat([]byte{'a'}, length)
				text[at] = byte(c)
				if want := plainByByte(text); plain(text) != want || plain(string(text)) != want {
					t.Fatalf("%q: plain is %v", text, !want)
				}
			}
		}
	}
	edges := rapid.SampledFrom([]byte{0, 1, 0x1f, ' ', '!', '"', '#', '[', '\\', ']', '~', 0x7f, 0x80, 0xff})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.OneOf(edges, rapid.ByteRange(' ', '~'))).Draw(t, "text")
		if want := plainByByte(text); plain(text) != want {
			t.Fatalf("%q: plain is %v", text, !want)
		}
	})
}

func BenchmarkPlain(b *testing.B) {
	text := []byte("b3a1c7de-4f5a-4b7e-9c1d-2e8f6a0b9c3d")
	for b.Loop() {
		if !plain(text) {
			b.Fatal("not plain")
		}
	}
}
