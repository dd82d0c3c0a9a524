package main

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// endpoint is one address of an etcd.
type endpoint struct {
	scheme  string // as given: http, https or ""
	address string // host:port
	tls     bool
}

// url gives the endpoint as the etcd client wants it; the scheme decides there whether TLS is used.
func (e endpoint) url() string {
	if e.tls {
		return "https://" + e.address
	}
	return "http://" + e.address
}

// parseEndpoints reads a list with commas. What is there twice is taken once.
func parseEndpoints(s setting) ([]endpoint, error) {
	var endpoints []endpoint
	for part := range strings.SplitSeq(s.text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		e, err := parseEndpoint(s, part)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(endpoints, e) {
			endpoints = append(endpoints, e)
		}
	}
	if len(endpoints) == 0 {
		return nil, s.refuse("no endpoint in it; want host:port, as 127.0.0.1:2379")
	}
	return endpoints, nil
}

func parseEndpoint(s setting, text string) (endpoint, error) {
	refuse := func(why string) (endpoint, error) {
		return endpoint{}, usagef("%s: endpoint %s: %s", s.source, quoteShort(text), why)
	}
	scheme, address, found := strings.Cut(text, "://")
	if !found {
		scheme, address = "", text
	}
	if scheme != "" && scheme != "http" && scheme != "https" {
		return refuse("want host:port, http://host:port or https://host:port")
	}
	address = strings.TrimSuffix(address, "/")
	if u, err := url.Parse("http://" + address); err != nil || u.Host != address || u.User != nil {
		return refuse("want host:port, and nothing after it")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return refuse("the port is missing; etcd's is 2379, so write " + text + ":2379")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return refuse("the port is no number from 1 to 65535")
	}
	if host == "" {
		return refuse("the host is missing; write 127.0.0.1:" + port + " for this machine")
	}
	return endpoint{scheme: scheme, address: address}, nil
}

// applyTLS decides whether TLS is spoken: as the schemes say, and without a scheme if there are TLS flags. One connection
// serves all endpoints, so they can't differ.
func applyTLS(endpoints []endpoint, flags bool) ([]endpoint, error) {
	var out []endpoint
	for _, e := range endpoints {
		e.tls = e.scheme == "https" || (e.scheme == "" && flags)
		if len(out) > 0 && out[0].tls != e.tls {
			return nil, usagef("endpoints %s and %s: one speaks TLS and the other does not; use https:// for all or http:// for all",
				out[0].url(), e.url())
		}
		if !slices.ContainsFunc(out, func(o endpoint) bool { return o.address == e.address }) {
			out = append(out, e)
		}
	}
	if flags && !out[0].tls {
		return nil, usagef("endpoint %s is plain http, but TLS files are given; use https:// or leave the TLS flags out", out[0].url())
	}
	return out, nil
}

// urls gives the endpoints as the etcd client wants them.
func urls(endpoints []endpoint) []string {
	var list []string
	for _, e := range endpoints {
		list = append(list, e.url())
	}
	return list
}
