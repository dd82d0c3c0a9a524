package watcher

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/hbctl/hbctl/registry"
)

func TestSelection(t *testing.T) {
	up := []write{putRecord(vol1), putAlive(vol1, 9)}
	tests := []struct {
		name   string
		filter registry.Filter
		before [][]write
		now    []write
		want   []string
	}{
		{"other host", registry.Filter{Host: "n2"}, nil, up, nil},
		{"other zone", registry.Filter{Zone: "az2"}, nil, up, nil},
		{"same zone", registry.Filter{Zone: "az1"}, nil, up, []string{"up vol/n1 inc=2 zone=az1 state=up"}},
		{
			"enters the zone",
			registry.Filter{Zone: "az2"},
			[][]write{up},
			[]write{putRecord(vol1, zone("az2"))},
			[]string{"updated vol/n1 inc=2 zone=az2 state=up"},
		},
		{
			"leaves the zone",
			registry.Filter{Zone: "az1"},
			[][]write{up},
			[]write{putRecord(vol1, zone("az2"))},
			[]string{"updated vol/n1 inc=2 zone=az2 state=up"},
		},
		{
			"dies after it left the zone",
			registry.Filter{Zone: "az1"},
			[][]write{up, {putRecord(vol1, zone("az2"))}},
			[]write{del(testKeys.Alive(vol1))},
			[]string{"down vol/n1 inc=2 deleted=4 ask=9 zone=az2 state=down"},
		},
		{
			"is replaced after it left the zone",
			registry.Filter{Zone: "az1"},
			[][]write{up, {putRecord(vol1, zone("az2"))}},
			[]write{putAlive(vol1, 8)},
			[]string{"down vol/n1 inc=2 cause=replaced zone=az2 state=down"},
		},
		{
			"dies again outside",
			registry.Filter{Zone: "az1"},
			[][]write{up, {putRecord(vol1, zone("az2"))}, {putAlive(vol1, 8)}},
			[]write{del(testKeys.Alive(vol1))},
			nil,
		},
		{
			"changes outside",
			registry.Filter{Zone: "az1"},
			[][]write{up, {putRecord(vol1, zone("az2"))}},
			[]write{putRecord(vol1, zone("az3"))},
			nil,
		},
		{
			"dies outside after a change outside",
			registry.Filter{Zone: "az1"},
			[][]write{up, {putRecord(vol1, zone("az2"))}, {putRecord(vol1, zone("az3"))}},
			[]write{del(testKeys.Alive(vol1))},
			[]string{"down vol/n1 inc=2 deleted=5 ask=9 zone=az3 state=down"},
		},
		{"was never inside", registry.Filter{Zone: "az9"}, [][]write{up}, []write{del(testKeys.Alive(vol1))}, nil},
		{
			"down ones only: dies",
			registry.Filter{State: registry.Down},
			[][]write{up},
			[]write{del(testKeys.Alive(vol1))},
			[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"},
		},
		{"up ones only: a record appears", registry.Filter{State: registry.Up}, nil, []write{putRecord(vol1)}, nil},
		{
			"disabled ones only",
			registry.Filter{Status: registry.Disabled},
			[][]write{up},
			[]write{putAdmin(vol1, disabled("x"))},
			[]string{"disabled vol/n1 inc=2 zone=az1 state=up"},
		},
		{
			"label",
			registry.Filter{Labels: labels.SelectorFromSet(labels.Set{"rack": "3"})},
			[][]write{up},
			[]write{putRecord(vol1, func(r *registry.Record) { r.Labels = map[string]string{"rack": "3"} })},
			[]string{"updated vol/n1 inc=2 zone=az1 state=up"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, s := testRules(tt.filter), newStore()
			view := s.view(r)
			for _, writes := range tt.before {
				events := s.txn(writes...)
				step := r.fold(view, s.rev, events, true)
				view.apply(&step.patch)
			}
			events := s.txn(tt.now...)
			got := r.fold(view, s.rev, events, true)
			wantLines(t, tell(got.events), tt.want)
		})
	}
}

func TestSelectionTellsViewsApart(t *testing.T) {
	filters := []registry.Filter{
		{},
		{Binary: "a"},
		{Host: "a"},
		{Zone: "a"},
		{Status: registry.Enabled},
		{State: registry.Up},
		{Labels: labels.SelectorFromSet(labels.Set{"a": "b"})},
	}
	seen := make(map[string]int)
	for i, f := range filters {
		text := selection{f}.String()
		if j, dup := seen[text]; dup {
			t.Errorf("filters %d and %d are both %q", i, j, text)
		}
		seen[text] = i
	}
}
