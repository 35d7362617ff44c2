package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

func newVersionCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the version, the revision it was built from, and the version of Go.",
		Example: "  tapgate version",
		Args:    arguments(0, 0, "flags"),
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if asJSON {
				return t.printJSON(v)
			}
			fmt.Fprintf(t.stdout, "tapgate %s", v.Version)
			if v.Revision != "" {
				fmt.Fprintf(t.stdout, " (%s)", v.Revision)
			}
			fmt.Fprintf(t.stdout, ", %s\n", v.Go)
			return nil
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// buildVersion is what the Go toolchain noted in the program.
func buildVersion() versionInfo {
	v := versionInfo{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
