package history

// Invariant names one promise.
type Invariant string

// The invariants.
const (
	Detected      Invariant = "I1"  // a crash is detected in time
	OneDown       Invariant = "I2"  // a crashed incarnation is told down exactly once, also over restarts of the reader
	FencedFirst   Invariant = "I3"  // a holder is fenced before anybody is told that it is down
	NeverValid    Invariant = "I3b" // Valid is never true after the last proof
	InOrder       Invariant = "I4"  // revisions come in order, whole, and once
	MissesNothing Invariant = "I5"  // who resumes gets what he missed, or the difference, or a reset
	AddsUp        Invariant = "I6"  // the events up to a revision add up to the list at it
	NoGhosts      Invariant = "I7"  // nothing is told up that is dead; incarnations grow; an alive key has a lease
	RightCause    Invariant = "I8"  // a clean stop is never a crash, a crash never a clean stop
	NoFalseDown   Invariant = "I9"  // what lives is not told down
	MendedSoon    Invariant = "I10" // a false delete is mended soon
	NoFlap        Invariant = "I11" // what is known to be up is not told up again
	Agreement     Invariant = "I12" // observers agree
	StaleTold     Invariant = "I13" // nobody is blind without being told
	Bounded       Invariant = "I14" // memory is bounded
	NoLapse       Invariant = "I15" // nobody is fenced without a fault
	CleanExit     Invariant = "I16" // nothing is left over
	BackAgain     Invariant = "I17" // once the faults are over everything comes back
)

// Invariants gives all of them, in the order of reports.
func Invariants() []Invariant {
	return []Invariant{
		Detected, OneDown, FencedFirst, NeverValid, InOrder, MissesNothing, AddsUp, NoGhosts, RightCause, NoFalseDown,
		MendedSoon, NoFlap, Agreement, StaleTold, Bounded, NoLapse, CleanExit, BackAgain,
	}
}

var statements = map[Invariant]string{
	Detected:      "every crash is detected in time",
	OneDown:       "exactly one end per incarnation and reader",
	FencedFirst:   "fenced before anybody is told down",
	NeverValid:    "Valid never says yes after the last proof",
	InOrder:       "revisions in order, whole, once",
	MissesNothing: "who resumes misses nothing",
	AddsUp:        "events add up to the list",
	NoGhosts:      "no up of what is dead, incarnations grow, keys are leased",
	RightCause:    "a clean stop is no crash, a crash no clean stop",
	NoFalseDown:   "what lives is not told down",
	MendedSoon:    "false deletes are mended soon",
	NoFlap:        "what is known to be up is not told up again",
	Agreement:     "observers agree",
	StaleTold:     "nobody is blind without being told",
	Bounded:       "memory is bounded",
	NoLapse:       "no fence without a fault",
	CleanExit:     "nothing is left over",
	BackAgain:     "everything comes back",
}

// Verdict says how a judgement ended.
type Verdict string

// The verdicts. Unknown means that the history does not contain what is needed to judge.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown"
)
