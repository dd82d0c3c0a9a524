package registry_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

func TestInstanceIsValidated(t *testing.T) {
	long := strings.Repeat("z", registry.MaxNameBytes)
	labels := func(key, value string) func(*registry.Instance) {
		return func(in *registry.Instance) { in.Labels = map[string]string{"fine": "yes", key: value} }
	}
	endpoint := func(url string) func(*registry.Instance) {
		return func(in *registry.Instance) { in.Endpoints = []string{"http://10.0.0.1:80", url} }
	}
	zone := func(z string) func(*registry.Instance) { return func(in *registry.Instance) { in.Zone = z } }
	ttl := func(d time.Duration) func(*registry.Instance) { return func(in *registry.Instance) { in.TTL = d } }

	for name, change := range map[string]func(*registry.Instance){
		"only a name":        func(*registry.Instance) {},
		"least TTL":          ttl(lease.MinTTL),
		"longest TTL":        ttl(lease.MaxTTL),
		"zone with blanks":   zone("rack 7, left"),
		"zone in Cyrillic":   zone("зона"),
		"longest zone":       zone(long),
		"label":              labels("rack", "r1"),
		"label with prefix":  labels("example.com/rack", "r_1.a-b"),
		"label without text": labels("gpu", ""),
		"endpoint":           endpoint("https://[::1]:8443/v1?x=1"),
		"other scheme":       endpoint("grpc+unix://socket"),
		"policy":             policy(registry.Takeover),
		"timeouts": func(in *registry.Instance) {
			in.RegisterTimeout, in.HealthInterval, in.HealthTimeout, in.Watchdog = 1, 1, 1, 1
		},
	} {
		in := registry.Instance{Name: registry.Name{Binary: "vol", Host: "node1"}}
		change(&in)
		if err := in.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	for name, change := range map[string]func(*registry.Instance){
		"no name":                    func(in *registry.Instance) { in.Name = registry.Name{} },
		"bad name":                   func(in *registry.Instance) { in.Name.Host = "a/b" },
		"TTL too short":              ttl(time.Second),
		"TTL negative":               ttl(-10 * time.Second),
		"TTL of a fraction":          ttl(2500 * time.Millisecond),
		"TTL too long":               ttl(2 * time.Hour),
		"TTL beyond all":             ttl(math.MaxInt64),
		"zone with an escape":        zone("a\x1b[2Jb"),
		"zone with a newline":        zone("a\nb"),
		"zone turned around":         zone("a\u202eb"),
		"zone with blanks around":    zone(" az1"),
		"zone only of blanks":        zone("  "),
		"zone not UTF-8":             zone("az\xff"),
		"zone too long":              zone(long + "z"),
		"label key empty":            labels("", "x"),
		"label key with a blank":     labels("my rack", "r1"),
		"label key too long":         labels(long, "r1"),
		"label key with two slashes": labels("a/b/c", "r1"),
		"label key turned around":    labels("a\u202eb", "r1"),
		"label value with a blank":   labels("rack", "r 1"),
		"label value too long":       labels("rack", long),
		"label value with an escape": labels("rack", "\x1b[2J"),
		"endpoint empty":             endpoint(""),
		"endpoint without scheme":    endpoint("10.0.0.1:80"),
		"endpoint without host":      endpoint("http:///path"),
		"endpoint with a blank":      endpoint("http://node 1/"),
		"endpoint with an escape":    endpoint("http://node1/\x1b[2J"),
		"endpoint with a newline":    endpoint("http://node1/\nx"),
		"endpoint turned around":     endpoint("http://node1/a\u202eb"),
		"endpoint not UTF-8":         endpoint("http://node1/\xff"),
		"policy below all":           policy(registry.Wait - 1),
		"policy above all":           policy(registry.Takeover + 1),
		"negative register timeout":  func(in *registry.Instance) { in.RegisterTimeout = -1 },
		"negative health interval":   func(in *registry.Instance) { in.HealthInterval = -1 },
		"negative health timeout":    func(in *registry.Instance) { in.HealthTimeout = -1 },
		"negative watchdog":          func(in *registry.Instance) { in.Watchdog = -time.Second },
	} {
		in := registry.Instance{Name: registry.Name{Binary: "vol", Host: "node1"}}
		change(&in)
		err := in.Validate()
		if !errors.Is(err, registry.ErrInvalid) && !errors.Is(err, lease.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
			continue
		}
		if text := err.Error(); len(text) > 600 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\n\u202e") {
			t.Errorf("%s: the error is not fit for a screen: %q", name, text)
		}
	}
}

func TestConfigIsValidated(t *testing.T) {
	for name, cfg := range map[string]registry.Config{
		"prefix of everything":       {Prefix: "/"},
		"prefix with a blank":        {Prefix: "/a b/"},
		"reports without a pause":    {ReportInterval: time.Millisecond},
		"reports nearly each second": {ReportInterval: time.Second - 1},
	} {
		if r, err := registry.New(nil, cfg); !errors.Is(err, registry.ErrInvalid) || r != nil {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}
