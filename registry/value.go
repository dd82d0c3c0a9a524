package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// Schema is the version of the values that this package writes and reads.
	Schema = 1
	// MaxValueBytes is the largest value that is written, and the largest that is read as ours.
	MaxValueBytes = 16 << 10
)

// Record is the value of an instances key: what the service says of itself. Fields that this version does not know are kept
// in Unknown and written back, so that an older program does not strip what a newer one wrote.
type Record struct {
	Schema      int               `json:"schema"`
	Binary      string            `json:"binary"`
	Host        string            `json:"host"`
	Zone        string            `json:"zone"`
	Labels      map[string]string `json:"labels,omitempty"`
	Endpoints   []string          `json:"endpoints,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`   // when the record was first written, by that writer's wall clock
	UpdatedAt   time.Time         `json:"updated_at"`   // when the service last wrote it, by its wall clock
	ReportCount int64             `json:"report_count"` // how many reports were written
	TTLSeconds  int64             `json:"ttl_seconds"`  // granted TTL of the lease
	Health      string            `json:"health,omitempty"`
	Ended       *Ended            `json:"ended,omitempty"` // set by an announced end, absent otherwise

	Unknown jsontext.Value `json:",embed"`
}

// Ended is what a service says in the transaction that ends an incarnation.
type Ended struct {
	Cause       Cause     `json:"cause"` // left, failed or unhealthy
	Reason      string    `json:"reason,omitempty"`
	At          time.Time `json:"at"`          // by the service's wall clock
	Incarnation int64     `json:"incarnation"` // which incarnation ended

	Unknown jsontext.Value `json:",embed"`
}

// Holder is the value of an alive key: which process holds the name. It is put once per incarnation and never again.
type Holder struct {
	Schema       int       `json:"schema"`
	Registration string    `json:"registration"` // random, one for each call of Register
	PID          int       `json:"pid,omitempty"`
	ProcessStart string    `json:"process_start,omitempty"` // start time of the process, in the kernel's ticks since boot
	MachineID    string    `json:"machine_id,omitempty"`    // hashed: the machine's own id is nobody else's business
	BootID       string    `json:"boot_id,omitempty"`
	PIDNamespace string    `json:"pid_namespace,omitempty"`
	Since        time.Time `json:"since,omitzero"` // start of the incarnation by the holder's wall clock; shown, never compared

	Unknown jsontext.Value `json:",embed"`
}

// String names the process in words.
func (h *Holder) String() string {
	return fmt.Sprintf("registration %s (pid %d)", quote(h.Registration), h.PID)
}

// SameProcess says that both were written by one and the same process: by one call of Register, told by its random id, or by
// two of one process, told by all that identifies it. What is missing matches nothing.
func (h *Holder) SameProcess(other *Holder) bool {
	if h == nil || other == nil {
		return false
	}
	if h.Registration != "" && h.Registration == other.Registration {
		return true
	}
	one, known := h.ProcessIdentity()
	two, _ := other.ProcessIdentity()
	return known && one == two
}

// ProcessIdentity gives a text that is the same for one and the same process and no other, or false where the holder did not
// say enough for that: a pid alone comes back.
func (h *Holder) ProcessIdentity() (string, bool) {
	if h == nil || h.PID <= 0 || h.ProcessStart == "" || h.MachineID == "" || h.BootID == "" || h.PIDNamespace == "" {
		return "", false
	}
	return strings.Join([]string{h.MachineID, h.BootID, h.PIDNamespace, strconv.Itoa(h.PID), h.ProcessStart}, "\x00"), true
}

// Admin is the value of an admin key: what operators said.
type Admin struct {
	Schema     int    `json:"schema"`
	Disabled   *Word  `json:"disabled,omitempty"`
	ForcedDown *Word  `json:"forced_down,omitempty"`
	Evicted    *Evict `json:"evicted,omitempty"`

	Unknown jsontext.Value `json:",embed"`
}

// Word is one thing an operator said: why, who, when.
type Word struct {
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`

	Unknown jsontext.Value `json:",embed"`
}

// Evict names an incarnation that must end; it and all before it may not come back.
type Evict struct {
	Incarnation int64     `json:"incarnation"`
	Reason      string    `json:"reason,omitempty"`
	By          string    `json:"by,omitempty"`
	At          time.Time `json:"at,omitzero"`

	Unknown jsontext.Value `json:",embed"`
}

// EncodeRecord gives the JSON of an instances key's value. It returns ErrTooLarge above MaxValueBytes, as its siblings do.
func EncodeRecord(r *Record) ([]byte, error) {
	if value, ok := quickWrite(r, sortedLabels(r.Labels)); ok && len(value) <= MaxValueBytes {
		return value, nil
	}
	return encode(r)
}

// EncodeHolder gives the JSON of an alive key's value.
func EncodeHolder(h *Holder) ([]byte, error) {
	if value, ok := quickWriteHolder(h); ok && len(value) <= MaxValueBytes {
		return value, nil
	}
	whole := *h // so that the caller's own can be on the stack
	return encode(&whole)
}

// EncodeAdmin gives the JSON of an admin key's value.
func EncodeAdmin(a *Admin) ([]byte, error) { return encode(a) }

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: value can't be written as JSON: %w", ErrInvalid, err)
	}
	if len(b) > MaxValueBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed; shorten labels, endpoints or the reason", ErrTooLarge, len(b), MaxValueBytes)
	}
	return b, nil
}

// DecodeRecord reads the value of an instances key. Any value that is not a JSON object of schema 1 is an error which says
// why; nothing in it is trusted then.
func DecodeRecord(value []byte) (*Record, error) {
	return decodeRecord(value, new(lastTexts))
}

// A Decoder decodes one value after the other, and makes no second copy of what the value before said too, as of two records of
// one name: they may share labels and endpoints, which must not be changed. The zero value is ready.
type Decoder struct{ last lastTexts }

// Record reads the value of the instances key of the name, as DecodeRecord does.
func (d *Decoder) Record(name Name, value []byte) (*Record, error) {
	d.last.binary, d.last.host = name.Binary, name.Host
	r, err := decodeRecord(value, &d.last)
	if err == nil {
		d.last.labels, d.last.endpoints = r.Labels, r.Endpoints
	}
	return r, err
}

func decodeRecord(value []byte, last *lastTexts) (*Record, error) {
	if r := quickRecord(value, last); r != nil {
		return r, nil
	}
	return slowRecord(value)
}

func slowRecord(value []byte) (*Record, error) {
	return decodeAs(value, func(r *Record) *int { return &r.Schema })
}

// DecodeHolder reads the value of an alive key, as DecodeRecord does.
func DecodeHolder(value []byte) (*Holder, error) {
	return decodeHolder(value, false)
}

func decodeHolder(value []byte, forRow bool) (*Holder, error) {
	if h := quickHolder(value, forRow); h != nil {
		return h, nil
	}
	return slowHolder(value)
}

func slowHolder(value []byte) (*Holder, error) {
	return decodeAs(value, func(h *Holder) *int { return &h.Schema })
}

// DecodeAdmin reads the value of an admin key, as DecodeRecord does.
func DecodeAdmin(value []byte) (*Admin, error) {
	return decodeAs(value, func(a *Admin) *int { return &a.Schema })
}

func decodeAs[T any](value []byte, schema func(*T) *int) (*T, error) {
	into := new(T)
	if err := decode(value, into, schema(into)); err != nil {
		return nil, err
	}
	return into, nil
}

func decode(value []byte, into any, schema *int) error {
	if len(value) == 0 {
		return errors.New("the value is empty")
	}
	if len(value) > MaxValueBytes {
		return fmt.Errorf("the value has %d bytes, more than the %d that are read", len(value), MaxValueBytes)
	}
	// Only an object is ours: JSON's null would decode into anything without a word.
	if kind := jsontext.Value(value).Kind(); kind != '{' {
		return errors.New("the value is no JSON object")
	}
	err := json.Unmarshal(value, into)
	if err != nil && *schema == 0 {
		// A newer schema may have changed the very field at which reading stopped.
		var head struct {
			Schema int `json:"schema"`
		}
		if json.Unmarshal(value, &head) == nil {
			*schema = head.Schema
		}
	}
	if *schema != Schema && *schema != 0 {
		return fmt.Errorf("schema %d is not known here; use a newer hbctl", *schema)
	}
	if err != nil {
		return fmt.Errorf("the value is not valid: %s", short(err))
	}
	if *schema == 0 {
		return errors.New(`the value has no "schema"`)
	}
	return nil
}

// short keeps one line of an error about foreign data: the value may be long, and it is not to be trusted on a screen.
func short(err error) string {
	s := fmt.Sprintf("%q", err.Error())
	s = s[1 : len(s)-1]
	if len(s) > 160 {
		s = s[:160] + "..."
	}
	return s
}
