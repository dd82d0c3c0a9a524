package main

import (
	"regexp"
	"strings"

	"github.com/hbctl/hbctl/lease"
)

// inWords gives an error as a user wants to read it: one line that says what happened, without the layers of gRPC and of Go's
// network that it came through.
func inWords(err error) string {
	text := strings.ReplaceAll(err.Error(), `\"`, `"`)
	for _, layer := range layers {
		text = layer.found.ReplaceAllString(text, layer.shown)
	}
	return oneLine(text)
}

var layers = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`rpc error: code = \w+ desc = `), ""},
	{regexp.MustCompile(`connection error: desc = "(.*)"`), "$1"},
	{regexp.MustCompile(`(transport: |Error while dialing:? |error reading from server: |error reading server preface: |latest balancer error: |last connection error: )`), ""},
	// Of a connection only the other side is of interest: "dial tcp a:1: connect: refused", "read tcp here:2->a:1: read: reset".
	{regexp.MustCompile(`(?:dial|read|write) tcp (?:\S+->)?(\S+): (?:i/o|(?:connect|read|write):) `), "$1: "},
	{regexp.MustCompile(`\b(\S+:\d+): timeout`), "$1: no answer"},
	{regexp.MustCompile(`dial tcp: lookup (\S+)(?: on \S+)?: `), "host $1: "},
	{regexp.MustCompile(`\betcdserver: `), "etcd: "},
	{regexp.MustCompile(`context deadline exceeded`), "no answer in time"},
	{regexp.MustCompile(`context canceled`), "it was cut short"},
	{regexp.MustCompile(`tls: |x509: `), ""},
	{regexp.MustCompile(`no answer in time(: no answer in time)+`), "no answer in time"},
	// The line in which it stands says that already.
	{regexp.MustCompile(`^` + lease.ErrFenced.Error() + `: `), ""},
}
