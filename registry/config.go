package registry

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// DefaultReportInterval is the time between two reports of an instance.
const DefaultReportInterval = 60 * time.Second

// Client is what a Registry needs of an etcd client; *clientv3.Client is one. The caller makes it and closes it, after the
// Registry. It should be made with lease.DialOptions: the Registry ends gRPC's waits between two attempts to connect, of up to two
// minutes, but what else uses the client waits them out.
type Client interface {
	Lister
	// ActiveConnection gives the connection that raw calls go through, transactions among them.
	ActiveConnection() *grpc.ClientConn
}

// Config says how a Registry works. The zero value is usable.
type Config struct {
	// Prefix of all keys. Default: DefaultPrefix.
	Prefix string
	// ReportInterval is how often records are rewritten with report_count+1. Default: DefaultReportInterval. Negative: records
	// are written only when they change, and a steady cluster costs etcd no writes.
	ReportInterval time.Duration
	// LeasePerInstance gives each instance a lease of its own. By default instances with the same TTL share one, up to
	// 1,000 of them, so that a process costs etcd one renewal, and its death is one event.
	LeasePerInstance bool
	// OnEvent, if set, is told what happens to the registrations. It is called one call at a time, by whoever is at work for the
	// Registry, callers of Register among them, and must not block.
	OnEvent func(Event)
	// Process says who holds the names. Default: ThisProcess().
	Process *Process
	// Boottime reads a clock that runs while the machine is suspended. Default: CLOCK_BOOTTIME, where there is one.
	Boottime func() time.Duration
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.ReportInterval == 0:
		c.ReportInterval = DefaultReportInterval
	case c.ReportInterval > 0 && c.ReportInterval < time.Second:
		return c, fmt.Errorf("%w: report interval %v: want at least 1s, or less than 0 for none", ErrInvalid, c.ReportInterval)
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.Process == nil {
		self := ThisProcess()
		c.Process = &self
	}
	return c, nil
}
