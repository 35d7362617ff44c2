package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/settings"
)

func newSettingsCommand(t *tool) *cobra.Command {
	var port string
	var asJSON bool
	c := &cobra.Command{
		Use:   "settings [NAME | NAME=VALUE]…",
		Short: "Show or change timeouts, quotas and helpers",
		Long: `Shows what is set about the tracking of connections, with the defaults and where each
value comes from; with --port, what is in force at a port. Names choose what is shown.

NAME=VALUE sets a value for the host, several values with commas between; NAME= goes
back to the default. All ports have them at once, and if one of them cannot, nothing
is changed. Connections live on; a new time counts from a connection's next packet.

With --port, NAME=VALUE sets a value for that port alone. Such values are parameters
of its binding, where their names are in capitals and begin with CTRL_: they can be
given in libvirt's XML, as <parameter name='CTRL_TIMEOUT_UDP' value='60'/>, and with
"tapgate bind --param CTRL_TIMEOUT_UDP=60". They win over the host's.

` + settingsHelp() + `
Times are in seconds and default to those of Linux (nf_conntrack). "none" in place of
ports switches a helper off. Needs root, except to show or set the host's settings
where no port is bound.`,
		Example: `  tapgate settings
  tapgate settings timeout_udp=60 max_connections=10000
  tapgate settings timeout_udp=
  tapgate settings --port vnet0
  tapgate settings --port vnet0 helper_ftp=21,2121`,
		ValidArgsFunction: completeSetting,
		RunE: func(c *cobra.Command, args []string) error {
			chosen, assignments, err := parseSettings(args)
			if err != nil {
				return err
			}
			if len(assignments) > 0 {
				return t.changeSettings(c.Context(), port, assignments, chosen, asJSON)
			}
			values, err := t.settingsOf(c.Context(), port)
			if err != nil {
				return err
			}
			shown := showSettings(values, chosen)
			if asJSON {
				return t.printJSON(shown)
			}
			t.printSettings(shown)
			return nil
		},
	}
	c.Flags().StringVar(&port, "port", "", "a bound `port`, in place of the host")
	jsonFlag(c, &asJSON)
	must(c.RegisterFlagCompletionFunc("port", func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return t.completePort(c, nil, typed)
	}))
	return c
}

// settingsHelp is a line for each setting.
func settingsHelp() string {
	var b strings.Builder
	rows := &table{}
	for _, s := range settings.All() {
		rows.add(s.ShortName(), s.Default, s.About)
	}
	rows.flush(&b, "  ")
	return b.String()
}

// parseSettings tells names that are asked for from what is to be set.
func parseSettings(args []string) (chosen map[string]bool, assignments []client.Assignment, err error) {
	chosen = map[string]bool{}
	asked := ""
	for _, arg := range args {
		if strings.Contains(arg, "=") {
			a, err := settings.ParseAssignment(arg)
			if err != nil {
				return nil, nil, usageError{err}
			}
			assignments = append(assignments, client.Assignment{Name: a.Setting.Name, Values: a.Values})
			chosen[a.Setting.Name] = true
			continue
		}
		s, err := settings.FindShort(arg)
		if err != nil {
			return nil, nil, usageError{err}
		}
		asked = arg
		chosen[s.Name] = true
	}
	if asked != "" && len(assignments) > 0 {
		return nil, nil, usagef("%q sets nothing: expected NAME=VALUE", asked)
	}
	return chosen, assignments, nil
}

// settingsOf are those in force at a port, or the host's if there is none.
func (t *tool) settingsOf(ctx context.Context, port string) ([]client.Setting, error) {
	ask, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	return ask.Settings(ctx, port)
}

// settingShown is a setting for people and programs.
type settingShown struct {
	client.Setting
	Default string `json:"default"`
	About   string `json:"about"`

	setting *settings.Setting
}

// showSettings are those that are chosen, or all if none is.
func showSettings(values []client.Setting, chosen map[string]bool) []settingShown {
	shown := []settingShown{}
	for _, v := range values {
		// A daemon of another version may have one more.
		if s := settings.Find(v.Name); s != nil && (len(chosen) == 0 || chosen[v.Name]) {
			shown = append(shown, settingShown{v, s.Default, s.About, s})
		}
	}
	return shown
}

func (t *tool) printSettings(shown []settingShown) {
	rows := &table{}
	rows.add("SETTING", "VALUE", "DEFAULT", "FROM", "WHAT IT IS")
	for _, s := range shown {
		rows.add(s.setting.ShortName(), s.setting.WithUnit(s.Value), s.setting.WithUnit(s.Default), s.From, s.About)
	}
	rows.flush(t.stdout, "")
}

func completeSetting(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range settings.All() {
		names = append(names, s.ShortName()+"=\t"+s.About)
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
