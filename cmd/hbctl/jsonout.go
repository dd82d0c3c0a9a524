package main

import (
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
