package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// bashWord is how the last word of a line was begun.
type bashWord struct {
	kept  string // what bash leaves as it is: it breaks words at more than blanks
	quote rune   // the quote that is open, or 0
}

// bashWords takes apart what bash gives: the line, the position of the cursor, and the part of the word that bash will
// replace, which is its $2: COMP_WORDS lack an @.
func bashWords(args []string) (words []string, typed bashWord) {
	if len(args) < 3 {
		return args, bashWord{}
	}
	line := args[0]
	if point, err := strconv.Atoi(args[1]); err == nil && point >= 0 && point <= len(line) {
		line = line[:point]
	}
	words, quote := shellWords(line)
	last, replaced := words[len(words)-1], args[2]
	if !strings.HasSuffix(last, replaced) { // with backslashes
		unquoted, _ := shellWords("hbctl " + replaced)
		replaced = unquoted[len(unquoted)-1]
	}
	return words[1:], bashWord{kept: strings.TrimSuffix(last, replaced), quote: quote}
}

// rest gives what bash shall put in place of the end of the word. Bash takes it as it is, so it is quoted here: a name may
// have anything in it, and must not become a command of whoever presses TAB.
func (w bashWord) rest(text string) string {
	text = strings.TrimPrefix(text, w.kept)
	var b strings.Builder
	for i, r := range text {
		switch {
		case w.quote == '\'' && r == '\'':
			b.WriteString(`'\''`)
		case w.quote == '"' && r == '!': // a backslash before it would stay
			b.WriteString(`"\!"`)
		case w.quote == '"' && strings.ContainsRune("\"\\$`", r), w.quote == 0 && !plainInBash(r, i == 0 && w.kept == ""):
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainInBash says whether a letter means nothing but itself.
func plainInBash(r rune, first bool) bool {
	return r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("@%+=:,./-_", r) || (r == '#' && !first)
}

// shellWords splits a line as a shell does, as far as quotes and backslashes go. What is left open at the end belongs to the last
// word, with the quote that is open; after a blank that word is empty.
func shellWords(line string) (words []string, quote rune) {
	var word strings.Builder
	escaped, open := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, open = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	words = append(words, word.String())
	if len(words) == 1 {
		words = append(words, "")
	}
	return words, quote
}
