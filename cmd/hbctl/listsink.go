package main

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v2"

	"github.com/hbctl/hbctl/registry"
)

// A listSink writes a list row by row, as it comes. Warnings are known at the end.
type listSink interface {
	begin(cluster uint64, revision int64) error
	row(s *registry.Service) error
	end(warnings []registry.Warning) error
}

// sink gives the sink of the format.
func (v listView) sink(w io.Writer) listSink {
	out := bufio.NewWriterSize(w, 64<<10)
	switch v.format {
	case "json":
		return &jsonSink{out: out}
	case "jsonl":
		return &lineSink{out: out, line: func(b []byte, s *registry.Service) []byte { return appendService(b, s) }}
	case "yaml":
		return &yamlSink{out: out}
	case "csv":
		return &csvSink{out: csv.NewWriter(out)}
	case "name":
		return &lineSink{out: out, line: func(b []byte, s *registry.Service) []byte {
			return append(append(append(b, s.Binary...), '/'), s.Host...)
		}}
	}
	cols := columns(v.format == "wide", v.ages, v.now)
	if v.format == "table" {
		cols = append(cols, v.extra...)
	}
	return newTable(out, cols, v.colored)
}

// jsonSink writes the list as one object, a row a line: it is read by lines as easily as by a JSON reader, and a long list is never
// held in memory as text.
type jsonSink struct {
	out  *bufio.Writer
	line []byte
	rows bool
}

func (j *jsonSink) begin(cluster uint64, revision int64) error {
	head := `{"cluster":null,"revision":null` // it ended before that was asked
	if cluster != 0 {
		head = `{"cluster":"` + clusterID(cluster) + `","revision":` + strconv.FormatInt(revision, 10)
	}
	_, err := j.out.WriteString(head + `,"services":[`)
	return err
}

func (j *jsonSink) row(s *registry.Service) error {
	j.line = append(j.line[:0], ",\n"...)
	if !j.rows {
		j.line, j.rows = j.line[1:], true
	}
	j.line = appendService(j.line, s)
	_, err := j.out.Write(j.line)
	return err
}

func (j *jsonSink) end(warnings []registry.Warning) error {
	if j.rows {
		j.out.WriteByte('\n')
	}
	j.out.WriteString(`],"warnings":[`)
	for i, w := range safeWarnings(warnings) {
		separator := "\n"
		if i > 0 {
			separator = ",\n"
		}
		j.out.WriteString(separator)
		if err := json.MarshalWrite(j.out, w, jsonOptions); err != nil {
			return err
		}
	}
	if len(warnings) > 0 {
		j.out.WriteByte('\n')
	}
	j.out.WriteString("]}\n")
	return j.out.Flush()
}

// lineSink writes one row a line: as JSON, or as the name that other commands take.
type lineSink struct {
	out    *bufio.Writer
	line   func([]byte, *registry.Service) []byte
	buffer []byte
}

func (l *lineSink) begin(uint64, int64) error { return nil }

func (l *lineSink) row(s *registry.Service) error {
	l.buffer = append(l.line(l.buffer[:0], s), '\n')
	_, err := l.out.Write(l.buffer)
	return err
}

func (l *lineSink) end([]registry.Warning) error { return l.out.Flush() }

// csvSink writes a header with the names that the fields have in JSON, and a line for each row.
type csvSink struct{ out *csv.Writer }

func (c *csvSink) begin(uint64, int64) error {
	var names []string
	for _, f := range fieldsOf(new(registry.Service)) {
		names = append(names, f.name)
	}
	return c.out.Write(names)
}

func (c *csvSink) row(s *registry.Service) error { return c.out.Write(csvOf(s)) }

func (c *csvSink) end([]registry.Warning) error {
	c.out.Flush()
	return c.out.Error()
}

// yamlSink writes what jsonSink writes, as YAML.
type yamlSink struct {
	out  *bufio.Writer
	rows bool
}

func (y *yamlSink) begin(cluster uint64, revision int64) error {
	var id, at any // not known
	if cluster != 0 {
		id, at = clusterID(cluster), revision
	}
	return writeYAML(y.out, yaml.MapSlice{{Key: "cluster", Value: id}, {Key: "revision", Value: at}})
}

func (y *yamlSink) row(s *registry.Service) error {
	if !y.rows {
		y.rows = true
		y.out.WriteString("services:\n")
	}
	return writeYAML(y.out, []yaml.MapSlice{yamlOf(s)})
}

func (y *yamlSink) end(warnings []registry.Warning) error {
	if !y.rows {
		if err := writeYAML(y.out, yaml.MapSlice{{Key: "services", Value: []string{}}}); err != nil {
			return err
		}
	}
	list := []yaml.MapSlice{}
	for _, w := range safeWarnings(warnings) {
		list = append(list, yaml.MapSlice{{Key: "key", Value: w.Key}, {Key: "problem", Value: w.Problem}})
	}
	if err := writeYAML(y.out, yaml.MapSlice{{Key: "warnings", Value: list}}); err != nil {
		return err
	}
	return y.out.Flush()
}

func writeYAML(out *bufio.Writer, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}
