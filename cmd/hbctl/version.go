package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
	etcdversion "go.etcd.io/etcd/api/v3/version"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

// buildVersion gives the version of this program as well as it is known.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "show the version of hbctl and of what it is built with",
		UsageText: "hbctl version [-o text|json]",
		Description: `Examples:
   hbctl version
   hbctl version -o json`,
		Flags:  []cli.Flag{outputFlag("text", "json")},
		Action: p.showVersion,
	}
}

func (p *program) showVersion(c *cli.Context) error {
	format, err := output(c, "text", "json")
	if err != nil {
		return err
	}
	v := struct {
		Version    string `json:"version"`
		Go         string `json:"go"`
		EtcdClient string `json:"etcd_client"`
		Platform   string `json:"platform"`
	}{buildVersion(), runtime.Version(), etcdversion.Version, runtime.GOOS + "/" + runtime.GOARCH}
	if format == "json" {
		return jsonLine(p.stdout, v)
	}
	_, err = fmt.Fprintf(p.stdout, "hbctl %s (%s, etcd client %s, %s)\n", v.Version, v.Go, v.EtcdClient, v.Platform)
	return err
}
