package registry

import (
	"bytes"
	"time"
)

// What this package writes it can also read in a simple way: JSON of known fields, each once, in strings of plain ASCII, without a
// blank. That takes a tenth of the time of a reader of all JSON, and makes no garbage. Whatever looks in any way different is left
// to that one: of no value the two may say different things.

// quick reads a value from left to right. Once something is not as expected it is stuck, and what it gave counts for nothing.
type quick struct {
	rest  []byte
	stuck bool
}

// lastTexts are texts that were read last: of thousands of instances most have the same zone, and the name that is in the key.
type lastTexts struct {
	binary, host, zone, health string

	// Of the record before, if it may share them with the next.
	labels    map[string]string
	endpoints []string
}

func (q *quick) fail() { q.stuck = true }

// take takes one byte that must come.
func (q *quick) take(c byte) {
	if len(q.rest) == 0 || q.rest[0] != c {
		q.fail()
		return
	}
	q.rest = q.rest[1:]
}

// next says whether the byte comes, and takes it.
func (q *quick) next(c byte) bool {
	if q.stuck || len(q.rest) == 0 || q.rest[0] != c {
		return false
	}
	q.rest = q.rest[1:]
	return true
}

// text takes a string, whose bytes are still those of the value.
func (q *quick) text() []byte {
	if q.take('"'); q.stuck {
		return nil
	}
	// A quote that is escaped comes after a backslash, and is found to be that.
	end := bytes.IndexByte(q.rest, '"')
	if end < 0 || !plain(q.rest[:end]) {
		q.fail()
		return nil
	}
	s := q.rest[:end]
	q.rest = q.rest[end+1:]
	return s
}

// like takes a string that is likely the one given: then no copy is made.
func (q *quick) like(likely string) string {
	b := q.text()
	if string(b) == likely {
		return likely
	}
	return string(b)
}

// number takes a whole number.
func (q *quick) number() int64 {
	negative := q.next('-')
	const digits = 18 // less than overflow
	var n int64
	i := 0
	for ; i < len(q.rest) && i < digits && q.rest[i] >= '0' && q.rest[i] <= '9'; i++ {
		n = 10*n + int64(q.rest[i]-'0')
	}
	if i == 0 || i > 1 && q.rest[0] == '0' || i == digits || i == len(q.rest) || q.rest[i] != ',' && q.rest[i] != '}' {
		q.fail()
		return 0
	}
	q.rest = q.rest[i:]
	if negative {
		return -n
	}
	return n
}

// time takes a time in UTC, with milliseconds or whatever fraction.
func (q *quick) time() time.Time {
	const whole = len("2006-01-02T15:04:05")
	s := q.text()
	if len(s) <= whole || s[len(s)-1] != 'Z' || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		q.fail()
		return time.Time{}
	}
	year, month, day := 100*q.digits(s[0:2])+q.digits(s[2:4]), q.digits(s[5:7]), q.digits(s[8:10])
	hour, minute, second := q.digits(s[11:13]), q.digits(s[14:16]), q.digits(s[17:19])
	nanos, fraction := 0, s[whole:len(s)-1]
	if len(fraction) > 0 {
		if len(fraction) == 1 || len(fraction) > 10 || fraction[0] != '.' {
			q.fail()
			return time.Time{}
		}
		unit := 100_000_000
		for _, c := range fraction[1:] {
			if c < '0' || c > '9' {
				q.fail()
			}
			nanos += unit * int(c-'0')
			unit /= 10
		}
	}
	if month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(month, year) || hour > 23 || minute > 59 || second > 59 {
		q.fail()
	}
	if q.stuck {
		return time.Time{}
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
}

// digits reads two of them.
func (q *quick) digits(s []byte) int {
	if s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' {
		q.fail()
	}
	return 10*int(s[0]-'0') + int(s[1]-'0')
}

func daysIn(month, year int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// object takes an object, field by field. Each is known to read by its number in names, and comes once.
func (q *quick) object(names []string, read func(field int)) {
	var seen uint64
	likely := 0 // they are written in the order of names, some left out
	q.take('{')
	for first := true; !q.stuck && !q.next('}'); first = false {
		if !first {
			q.take(',')
		}
		field := q.field(names, likely)
		if q.stuck || seen&(1<<field) != 0 {
			q.fail()
			return
		}
		seen |= 1 << field
		read(field)
		likely = field + 1
	}
}

// field takes the name of a field and its colon, and gives its number, which is likely one of those from the one given on.
func (q *quick) field(names []string, likely int) int {
	for field := likely; field < len(names); field++ {
		if name := names[field]; len(q.rest) > len(name)+2 && q.rest[0] == '"' && string(q.rest[1:len(name)+1]) == name &&
			q.rest[len(name)+1] == '"' && q.rest[len(name)+2] == ':' {
			q.rest = q.rest[len(name)+3:]
			return field
		}
	}
	name := q.text()
	q.take(':')
	for field := range names {
		if names[field] == string(name) {
			return field
		}
	}
	q.fail()
	return 0
}

// labelsLike takes an object of strings that is likely the one given: then no other is made.
func (q *quick) labelsLike(likely map[string]string) map[string]string {
	begin := *q
	if len(likely) > 0 && q.sameLabels(likely) {
		return likely
	}
	*q = begin
	return q.labels()
}

// sameLabels takes an object, and says whether it is the one given, with its names in order: no name is there twice.
func (q *quick) sameLabels(likely map[string]string) bool {
	var before []byte
	n := 0
	q.take('{')
	for ; !q.stuck && !q.next('}'); n++ {
		if n > 0 {
			q.take(',')
		}
		key := q.text()
		q.take(':')
		text := q.text()
		if known, there := likely[string(key)]; !there || known != string(text) || n > 0 && bytes.Compare(before, key) >= 0 {
			return false
		}
		before = key
	}
	return !q.stuck && n == len(likely)
}

// textsLike takes an array of strings that is likely the one given: then no other is made.
func (q *quick) textsLike(likely []string) []string {
	begin := *q
	if len(likely) > 0 && q.sameTexts(likely) {
		return likely
	}
	*q = begin
	return q.texts()
}

func (q *quick) sameTexts(likely []string) bool {
	q.take('[')
	for i, text := range likely {
		if i > 0 {
			q.take(',')
		}
		if string(q.text()) != text {
			return false
		}
	}
	q.take(']')
	return !q.stuck
}

// labels takes an object of strings.
func (q *quick) labels() map[string]string {
	m := make(map[string]string)
	q.take('{')
	for first := true; !q.stuck && !q.next('}'); first = false {
		if !first {
			q.take(',')
		}
		key := string(q.text())
		q.take(':')
		if _, twice := m[key]; twice {
			q.fail()
		}
		m[key] = string(q.text())
	}
	return m
}

// texts takes an array of strings.
func (q *quick) texts() []string {
	list := []string{}
	q.take('[')
	for first := true; !q.stuck && !q.next(']'); first = false {
		if !first {
			q.take(',')
		}
		list = append(list, string(q.text()))
	}
	return list
}

// done says that the whole value was read as expected, and is of our schema.
func (q *quick) done(value []byte, schema int) bool {
	return !q.stuck && len(q.rest) == 0 && schema == Schema && len(value) <= MaxValueBytes
}

var recordFields = []string{"schema", "binary", "host", "zone", "labels", "endpoints", "created_at", "updated_at", "report_count", "ttl_seconds", "health"}

// quickRecord reads a record, or gives nil.
func quickRecord(value []byte, last *lastTexts) *Record {
	q := quick{rest: value}
	r := new(Record)
	q.object(recordFields, func(field int) {
		switch field {
		case 0:
			r.Schema = int(q.number())
		case 1:
			r.Binary = q.like(last.binary)
		case 2:
			r.Host = q.like(last.host)
		case 3:
			last.zone = q.like(last.zone)
			r.Zone = last.zone
		case 4:
			r.Labels = q.labelsLike(last.labels)
		case 5:
			r.Endpoints = q.textsLike(last.endpoints)
		case 6:
			r.CreatedAt = q.time()
		case 7:
			r.UpdatedAt = q.time()
		case 8:
			r.ReportCount = q.number()
		case 9:
			r.TTLSeconds = q.number()
		case 10:
			last.health = q.like(last.health)
			r.Health = last.health
		}
	})
	if !q.done(value, r.Schema) {
		return nil
	}
	return r
}

var holderFields = []string{"schema", "registration", "pid", "process_start", "machine_id", "boot_id", "pid_namespace", "since"}

// quickHolder reads a holder, or gives nil. Of one that is read for a row no more than that shows is kept.
func quickHolder(value []byte, forRow bool) *Holder {
	q := quick{rest: value}
	h := new(Holder)
	texts := [...]*string{1: &h.Registration, 3: &h.ProcessStart, 4: &h.MachineID, 5: &h.BootID, 6: &h.PIDNamespace}
	q.object(holderFields, func(field int) {
		switch field {
		case 0:
			h.Schema = int(q.number())
		case 2:
			h.PID = int(q.number())
		case 7:
			h.Since = q.time()
		default:
			if text := q.text(); !forRow {
				*texts[field] = string(text)
			}
		}
	})
	if !q.done(value, h.Schema) {
		return nil
	}
	return h
}
