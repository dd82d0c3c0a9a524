package main

import (
	"bufio"
	"encoding/csv"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"

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

// write writes the list to w.
func (v listView) write(w io.Writer, snap *registry.Snapshot) error {
	if v.query.given() {
		return v.query.write(w, func(w io.Writer) error { return writeListJSON(w, snap) })
	}
	switch v.format {
	case "json":
		return writeListJSON(w, snap)
	case "jsonl":
		return writeListJSONL(w, snap.Services)
	case "yaml":
		return writeListYAML(w, snap)
	case "csv":
		return writeListCSV(w, snap.Services)
	case "name":
		return writeNames(w, snap.Services)
	}
	cols := columns(v.format == "wide", v.ages, v.now)
	if v.format == "table" {
		cols = append(cols, v.extra...)
	}
	return writeTable(w, snap.Services, cols, v.colored)
}

// writeListYAML writes what writeListJSON writes, as YAML, row by row: the YAML of a long list would fill the memory.
func writeListYAML(w io.Writer, snap *registry.Snapshot) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if err := writeYAML(out, yaml.MapSlice{{Key: "cluster", Value: clusterID(snap.Cluster)}, {Key: "revision", Value: snap.Revision}}); err != nil {
		return err
	}
	err := writeYAMLList(out, "services", len(snap.Services), func(i int) yaml.MapSlice { return yamlOf(&snap.Services[i]) })
	if err != nil {
		return err
	}
	warnings := safeWarnings(snap.Warnings)
	err = writeYAMLList(out, "warnings", len(warnings), func(i int) yaml.MapSlice {
		return yaml.MapSlice{{Key: "key", Value: warnings[i].Key}, {Key: "problem", Value: warnings[i].Problem}}
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func writeYAMLList(out *bufio.Writer, key string, n int, element func(int) yaml.MapSlice) error {
	if n == 0 {
		return writeYAML(out, yaml.MapSlice{{Key: key, Value: []string{}}})
	}
	out.WriteString(key + ":\n")
	for i := range n {
		if err := writeYAML(out, []yaml.MapSlice{element(i)}); err != nil {
			return err
		}
	}
	return nil
}

func writeYAML(out *bufio.Writer, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// writeListCSV writes a header with the names that the fields have in JSON, and a line for each row.
func writeListCSV(w io.Writer, services []registry.Service) error {
	out := csv.NewWriter(bufio.NewWriterSize(w, 64<<10))
	var names []string
	for _, f := range fieldsOf(new(registry.Service)) {
		names = append(names, f.name)
	}
	if err := out.Write(names); err != nil {
		return err
	}
	for i := range services {
		if err := out.Write(csvOf(&services[i])); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// writeNames writes one BINARY/HOST a line, as other commands take them.
func writeNames(w io.Writer, services []registry.Service) error {
	var b strings.Builder
	for i := range services {
		b.WriteString(services[i].Name().String())
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
