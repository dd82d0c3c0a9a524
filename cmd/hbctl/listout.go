package main

import (
	"io"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// listFormats are the values of list's -o.
var listFormats = []string{"table", "wide", "json", "jsonl", "yaml", "csv", "name"}

// listView says how a list is shown.
type listView struct {
	format  string
	ages    bool
	colored bool
	now     time.Time
	query   query
	extra   []column // of the narrow table, after the others
}

// aligned says that nothing of the list can be shown before all of it is known.
func (v listView) aligned() bool { return v.format == "table" || v.format == "wide" }

// write writes the list to w.
func (v listView) write(w io.Writer, snap *registry.Snapshot) error {
	if v.query.given() {
		plain := listView{format: "json"}
		return v.query.write(w, func(w io.Writer) error { return plain.write(w, snap) })
	}
	sink := v.sink(w)
	if err := sink.begin(snap.Cluster, snap.Revision); err != nil {
		return err
	}
	for i := range snap.Services {
		if err := sink.row(&snap.Services[i]); err != nil {
			return err
		}
	}
	return sink.end(snap.Warnings)
}
