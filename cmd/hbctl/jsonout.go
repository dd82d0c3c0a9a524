package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/hbctl/hbctl/registry"
)

// jsonOptions make what is not known null, and the same data the same bytes. Bytes in etcd that are no UTF-8 must not make
// a whole list fail.
var jsonOptions = json.JoinOptions(
	json.Deterministic(true), json.FormatNilMapAsNull(true), json.FormatNilSliceAsNull(true), jsontext.AllowInvalidUTF8(true),
)

// jsonLine writes v as one line.
func jsonLine(w io.Writer, v any) error {
	b, err := json.Marshal(v, jsonOptions)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// clusterID shows a cluster's id as etcdctl does.
func clusterID(id uint64) string { return strconv.FormatUint(id, 16) }

// writeListJSON writes the list as one object, a row a line: it is read by lines as easily as by a JSON reader, and a long
// list is never held in memory as text.
func writeListJSON(w io.Writer, snap *registry.Snapshot) error {
	out := bufio.NewWriterSize(w, 64<<10)
	out.WriteString(`{"cluster":"` + clusterID(snap.Cluster) + `","revision":` + strconv.FormatInt(snap.Revision, 10) + `,"services":[`)
	if err := writeElements(out, snap.Services); err != nil {
		return err
	}
	out.WriteString(`],"warnings":[`)
	if err := writeElements(out, safeWarnings(snap.Warnings)); err != nil {
		return err
	}
	out.WriteString("]}\n")
	return out.Flush()
}

func writeElements[T any](out *bufio.Writer, list []T) error {
	for i := range list {
		separator := "\n"
		if i > 0 {
			separator = ",\n"
		}
		out.WriteString(separator)
		if err := json.MarshalWrite(out, &list[i], jsonOptions); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		out.WriteByte('\n')
	}
	return nil
}

// writeListJSONL writes one row a line.
func writeListJSONL(w io.Writer, services []registry.Service) error {
	out := bufio.NewWriterSize(w, 64<<10)
	for i := range services {
		if err := json.MarshalWrite(out, &services[i], jsonOptions); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	return out.Flush()
}

// safeWarnings escapes keys that are no UTF-8: JSON has no bytes, and a key that was bent silently names nothing.
func safeWarnings(warnings []registry.Warning) []registry.Warning {
	safe := make([]registry.Warning, len(warnings))
	for i, w := range warnings {
		safe[i] = w
		if strings.ToValidUTF8(w.Key, "") != w.Key {
			safe[i].Key = printable(w.Key)
		}
	}
	return safe
}
