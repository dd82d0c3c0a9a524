//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// What there is in every round.
const (
	memberCount = 3
	holderCount = 6
	namesEach   = 5
)

// Readers are the watcher processes, by what they are there for.
const (
	steadyReader   = iota // raw and confirmed, from now, for the whole run
	viewReader            // raw and confirmed, killed and resumed from a saved view
	revisionReader        // raw, killed and resumed from a bare revision
	slowReader            // raw, stops reading now and then
	programReader         // hbctl watch
	readerCount
)

// A deed is what a step does.
type deed string

// The deeds. Those that are faults of the table have its number in faultOf.
const (
	killHolder    deed = "kill holder"
	freezeShort   deed = "freeze holder shortly"
	freezeLong    deed = "freeze holder"
	blackhole     deed = "blackhole holder"
	loseRequests  deed = "lose requests of holder"
	loseAnswers   deed = "lose answers to holder"
	slowNetwork   deed = "delay holder"
	resetHolder   deed = "reset connections of holder"
	stopHolder    deed = "stop holder"
	leaveName     deed = "leave"
	failName      deed = "fail"
	updateName    deed = "update"
	followerIce   deed = "freeze follower"
	leaderIce     deed = "freeze leader"
	leaderKill    deed = "kill leader"
	allKilled     deed = "kill all members"
	allFrozen     deed = "freeze all members"
	allFrozenLong deed = "freeze all members beyond the TTL"
	quorumLost    deed = "kill a quorum"
	partLeader    deed = "part leader"
	partFollower  deed = "part follower"
	rollingStart  deed = "restart members in turn"
	slowDisk      deed = "slow fsync"
	hungDisk      deed = "hang fsync"
	readersMember deed = "freeze a watcher's member"
	noSpace       deed = "raise NOSPACE"
	compactStorm  deed = "compact over and over"
	compactOnce   deed = "compact"
	defragment    deed = "defragment"
	writeBurst    deed = "write elsewhere"
	deleteAlive   deed = "delete alive key"
	deleteRecord  deed = "delete record"
	revokeLease   deed = "revoke lease"
	forceDown     deed = "force down"
	disable       deed = "disable"
	evict         deed = "evict"
	takeover      deed = "take over"
	duplicate     deed = "register twice"
	junk          deed = "put junk"
	unleased      deed = "put an alive key without a lease"
	killReader    deed = "kill watcher"
	freezeReader  deed = "freeze watcher"
	cutReader     deed = "blackhole watcher"
	resetReader   deed = "reset connections of watcher"
	pauseReader   deed = "stop reading"
)

// faultOf gives the number of a deed in the table of faults, if it has one.
var faultOf = map[deed]string{
	killHolder: "F1", freezeShort: "F2", freezeLong: "F3", blackhole: "F6", loseRequests: "F7", loseAnswers: "F7", followerIce: "F8",
	leaderKill: "F9", leaderIce: "F10", allKilled: "F12", allFrozen: "F13", allFrozenLong: "F13", quorumLost: "F14", partLeader: "F15",
	partFollower: "F15", slowDisk: "F16", hungDisk: "F17", noSpace: "F19", compactStorm: "F20", compactOnce: "F20", defragment: "F21",
	pauseReader: "F29", rollingStart: "F33", readersMember: "F35", junk: "F37", duplicate: "F38", slowNetwork: "F6", resetHolder: "F6",
	cutReader: "F6", resetReader: "F6", freezeReader: "F2",
}

// A step is one thing that is done, and undone after a while.
type step struct {
	At    time.Duration // from the start of the round; later if the step before it in its lane took longer
	For   time.Duration // until it is undone
	Lane  string        // steps of one lane never overlap
	Deed  deed
	Actor int    // which holder or reader
	Name  int    // which name, of those of all holders
	Pick  uint64 // for what can't be known before: which follower, say
	Lossy bool   // what a cut held up is lost, not late
}

func (s step) String() string {
	return fmt.Sprintf("%6.2fs for %5.2fs  %-9s %s, actor %d, name %d", s.At.Seconds(), s.For.Seconds(), s.Lane, s.Deed, s.Actor, s.Name)
}

// A plan is a round before it is run.
type plan struct {
	Seed    uint64
	Length  time.Duration
	Mixed   bool // faults overlap; else they come one by one
	Holders []holderPlan
	Steps   []step // in the order of At
}

// holderPlan is one holder process.
type holderPlan struct {
	Names   []namePlan
	Reports time.Duration // report interval; negative: none
}

// namePlan is one name that it holds.
type namePlan struct {
	Name registry.Name
	Zone string
	TTL  time.Duration
	Own  bool // a lease of its own
}

// name gives the i-th name of all.
func (p *plan) name(i int) namePlan { return p.Holders[i/namesEach].Names[i%namesEach] }

// lane is a source of steps.
type lane struct {
	name       string
	gap, extra time.Duration // between the end of a step and the next: gap to gap+extra
	deeds      []chance
	actor      func(*rand.Rand) int
}

// chance is a deed with its weight, and how long it lasts at least and at most.
type chance struct {
	weight   int
	deed     deed
	from, to time.Duration
}

const ms, sec = time.Millisecond, time.Second

var holderDeeds = []chance{
	{4, killHolder, 0, 200 * ms},
	{4, killHolder, 6 * sec, 9 * sec},
	{3, freezeShort, 200 * ms, 900 * ms},
	{4, freezeLong, 6 * sec, 9 * sec},
	{4, blackhole, 500 * ms, 2 * sec},
	{5, blackhole, 5 * sec, 9 * sec},
	{2, loseAnswers, 3 * sec, 8 * sec},
	{2, loseRequests, 3 * sec, 8 * sec},
	{2, slowNetwork, 3 * sec, 6 * sec},
	{2, resetHolder, 0, 0},
	{2, stopHolder, 0, 2 * sec},
	{3, leaveName, 0, 3 * sec},
	{1, failName, 0, 2 * sec},
	{5, updateName, 0, 0},
}

var memberDeeds = []chance{
	{3, followerIce, 3 * sec, 8 * sec},
	{2, leaderIce, 2 * sec, 4 * sec},
	{4, leaderIce, 6 * sec, 9 * sec}, // longer than any TTL: it wakes and may revoke what lives
	{3, leaderKill, 1 * sec, 4 * sec},
	{3, allKilled, 3 * sec, 8 * sec},
	{1, allFrozen, 500 * ms, 1200 * ms},
	{2, allFrozenLong, 6 * sec, 7 * sec},
	{2, quorumLost, 4 * sec, 8 * sec},
	{2, partLeader, 3 * sec, 6 * sec},
	{1, partFollower, 3 * sec, 6 * sec},
	{2, rollingStart, 0, 0},
	{1, slowDisk, 3 * sec, 6 * sec},
	{1, hungDisk, 5 * sec, 7 * sec},
	{3, readersMember, 4 * sec, 7 * sec},
}

var storeDeeds = []chance{
	{3, compactStorm, 2 * sec, 4 * sec},
	{4, compactOnce, 0, 0},
	{2, defragment, 0, 0},
	{2, noSpace, 1 * sec, 3 * sec},
	{2, writeBurst, 0, 0},
}

var operatorDeeds = []chance{
	{4, deleteAlive, 0, 0},
	{2, deleteRecord, 0, 0},
	{3, revokeLease, 0, 0},
	{3, forceDown, 1 * sec, 4 * sec},
	{3, disable, 500 * ms, 3 * sec},
	{2, evict, 0, 0},
	{3, takeover, 1 * sec, 4 * sec},
	{2, duplicate, 0, 0},
	{2, junk, 500 * ms, 3 * sec},
	{1, unleased, 500 * ms, 2 * sec},
}

// readerDeeds are by reader: only those that can be resumed are killed.
var readerDeeds = [readerCount][]chance{
	steadyReader:   {{2, cutReader, 1 * sec, 6 * sec}, {2, resetReader, 0, 0}, {1, freezeReader, 500 * ms, 4 * sec}},
	viewReader:     {{5, killReader, 0, 8 * sec}, {1, cutReader, 1 * sec, 6 * sec}, {1, resetReader, 0, 0}},
	revisionReader: {{4, killReader, 0, 5 * sec}, {1, resetReader, 0, 0}, {1, freezeReader, 500 * ms, 4 * sec}},
	slowReader:     {{4, pauseReader, 3 * sec, 9 * sec}, {1, cutReader, 1 * sec, 6 * sec}},
	programReader:  {{4, killReader, 0, 5 * sec}, {1, cutReader, 1 * sec, 6 * sec}, {1, resetReader, 0, 0}},
}

// makePlan makes the plan of a round. It depends on nothing but its arguments.
func makePlan(seed uint64, length time.Duration, mixed bool) *plan {
	rng := rand.New(rand.NewPCG(seed, 0x6861766f63))
	p := &plan{Seed: seed, Length: length, Mixed: mixed}
	for h := range holderCount {
		p.Holders = append(p.Holders, planHolder(rng, h))
	}
	lanes := makeLanes()
	if !mixed {
		p.oneByOne(rng, lanes)
	} else {
		for _, l := range lanes {
			p.fill(rng, l)
		}
	}
	slices.SortStableFunc(p.Steps, func(x, y step) int { return int(x.At - y.At) })
	return p
}

// makePlanOf makes a plan of some faults, one after another, each given by its number or as the deed that it is.
func makePlanOf(seed uint64, length time.Duration, faults ...string) *plan {
	p := makePlan(seed, 0, false)
	p.Length = length
	var lanes []lane
	for _, l := range makeLanes() {
		l.deeds = slices.DeleteFunc(slices.Clone(l.deeds), func(c chance) bool {
			return !slices.Contains(faults, string(c.deed)) && !slices.Contains(faults, faultOf[c.deed])
		})
		if len(l.deeds) > 0 {
			lanes = append(lanes, l)
		}
	}
	if len(lanes) > 0 {
		p.oneByOne(rand.New(rand.NewPCG(seed, 0)), lanes)
	}
	return p
}

func planHolder(rng *rand.Rand, h int) holderPlan {
	out := holderPlan{Reports: -1}
	if rng.IntN(2) == 0 {
		out.Reports = time.Duration(2+rng.IntN(3)) * sec
	}
	shared := time.Duration(3+rng.IntN(3)) * sec
	for i := range namesEach {
		n := namePlan{
			Name: registry.Name{Binary: []string{"api", "vol", "net"}[i%3], Host: fmt.Sprintf("node%d%d", h, i)},
			Zone: fmt.Sprintf("az%d", rng.IntN(3)), TTL: shared,
		}
		if i >= 3 {
			n.Own, n.TTL = true, time.Duration(2+rng.IntN(4))*sec
		}
		out.Names = append(out.Names, n)
	}
	return out
}

func makeLanes() []lane {
	always := func(i int) func(*rand.Rand) int { return func(*rand.Rand) int { return i } }
	lanes := []lane{
		{"members", 5 * sec, 6 * sec, memberDeeds, func(rng *rand.Rand) int { return rng.IntN(readerCount) }},
		{"store", 2 * sec, 5 * sec, storeDeeds, always(0)},
		{"operators", 500 * ms, 2 * sec, operatorDeeds, always(0)},
	}
	for h := range holderCount {
		lanes = append(lanes, lane{fmt.Sprintf("holder%d", h), 5 * sec, 12 * sec, holderDeeds, always(h)})
	}
	for r := range readerCount {
		lanes = append(lanes, lane{fmt.Sprintf("reader%d", r), 4 * sec, 8 * sec, readerDeeds[r], always(r)})
	}
	return lanes
}

// fill plans one lane, beside all others.
func (p *plan) fill(rng *rand.Rand, l lane) {
	for at := sec + between(rng, 0, l.gap+l.extra); ; {
		s := l.step(rng, at)
		if s.At+s.For > p.Length {
			return
		}
		p.Steps = append(p.Steps, s)
		at += s.For + between(rng, l.gap, l.gap+l.extra)
	}
}

// oneByOne plans steps of all lanes that do not overlap, and leaves time for each to be mended.
func (p *plan) oneByOne(rng *rand.Rand, lanes []lane) {
	for at := 2 * sec; ; {
		s := lanes[rng.IntN(len(lanes))].step(rng, at)
		if s.At+s.For > p.Length {
			return
		}
		s.Lane = "alone"
		p.Steps = append(p.Steps, s)
		at += s.For + between(rng, 2*sec, 4*sec)
	}
}

func (l *lane) step(rng *rand.Rand, at time.Duration) step {
	total := 0
	for _, c := range l.deeds {
		total += c.weight
	}
	n := rng.IntN(total)
	var c chance
	for _, c = range l.deeds {
		if n -= c.weight; n < 0 {
			break
		}
	}
	s := step{At: at, For: between(rng, c.from, c.to), Lane: l.name, Deed: c.deed, Actor: l.actor(rng), Pick: rng.Uint64(), Lossy: rng.IntN(2) == 0}
	s.Name = rng.IntN(holderCount * namesEach)
	if c.deed == leaveName || c.deed == failName || c.deed == updateName {
		s.Name = s.Actor*namesEach + rng.IntN(namesEach) // its own
	}
	return s
}

func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return (from + time.Duration(rng.Int64N(int64(to-from)))).Round(ms)
}
