package registry_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/hbctl/hbctl/registry"
)

func TestFilter(t *testing.T) {
	selector := func(s string) labels.Selector {
		t.Helper()
		parsed, err := labels.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	zone, disabled := "az1", registry.Disabled
	whole := registry.Service{
		Binary: "vol", Host: "node1", Zone: &zone, Status: &disabled, State: registry.Up,
		Labels: map[string]string{"rack": "r1", "gpu": ""},
	}
	bare := registry.Service{Binary: "vol", Host: "node1", State: registry.Down} // zone, status and labels are not known
	for _, tt := range []struct {
		name        string
		filter      registry.Filter
		whole, bare bool
	}{
		{"none", registry.Filter{}, true, true},
		{"binary", registry.Filter{Binary: "vol"}, true, true},
		{"part of the binary", registry.Filter{Binary: "vo"}, false, false},
		{"host", registry.Filter{Host: "node1"}, true, true},
		{"host in capitals", registry.Filter{Host: "Node1"}, false, false},
		{"zone", registry.Filter{Zone: "az1"}, true, false},
		{"another zone", registry.Filter{Zone: "az2"}, false, false},
		{"status", registry.Filter{Status: registry.Disabled}, true, false},
		{"another status", registry.Filter{Status: registry.Enabled}, false, false},
		{"state", registry.Filter{State: registry.Up}, true, false},
		{"another state", registry.Filter{State: registry.Down}, false, true},
		{"label", registry.Filter{Labels: selector("rack=r1")}, true, false},
		{"another value", registry.Filter{Labels: selector("rack=r2")}, false, false},
		{"label is there", registry.Filter{Labels: selector("gpu")}, true, false},
		{"label is not there", registry.Filter{Labels: selector("!tpu")}, true, false}, // what is unknown is not "not there"
		{"one of", registry.Filter{Labels: selector("rack in (r1,r2),gpu=")}, true, false},
		{"every label", registry.Filter{Labels: labels.Everything()}, true, true},
		{"empty selector", registry.Filter{Labels: selector("")}, true, true},
		{"no label", registry.Filter{Labels: labels.Nothing()}, false, false},
		{"all of them", registry.Filter{
			Binary: "vol", Host: "node1", Zone: "az1", Status: registry.Disabled, State: registry.Up, Labels: selector("rack=r1"),
		}, true, false},
		{"all but one", registry.Filter{
			Binary: "vol", Host: "node1", Zone: "az1", Status: registry.Disabled, State: registry.Down, Labels: selector("rack=r1"),
		}, false, false},
	} {
		if got := tt.filter.Match(&whole); got != tt.whole {
			t.Errorf("%s: the known row: %v, want %v", tt.name, got, tt.whole)
		}
		if got := tt.filter.Match(&bare); got != tt.bare {
			t.Errorf("%s: the row of which little is known: %v, want %v", tt.name, got, tt.bare)
		}
	}
}
