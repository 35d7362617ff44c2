package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// bindFlags say what is to be bound.
type bindFlags struct {
	guest   guestFlags
	filter  string
	xml     string
	lenient bool
	asJSON  bool
}

func newBindCommand(t *tool) *cobra.Command {
	var flags bindFlags
	c := &cobra.Command{
		Use:   "bind [PORT] [--filter NAME|FILE --mac MAC | --xml FILE]",
		Short: "Guard a port with a filter",
		Long: `Compiles the filter for the guest and puts it in force on the port, the host-side
device of the guest's network card. On a port that is bound already, the new filter
takes the place of the old one at once: there is no moment without a filter, and
connections live on. If anything fails, what was in force still is.

The programs are pinned: they go on filtering after the command has ended. The
binding is stored, so that "tapgate bind PORT" alone binds the port again, for
example after its filter was changed. --filter FILE defines the filter too.

--xml reads ports, addresses, filters and parameters from libvirt's XML: a
<filterbinding>, an <interface> with a <target dev>, or the <domain> of a running
guest, whose interfaces are bound one after the other: one that fails is reported
and does not keep the others from being bound.

Parameters whose names begin with CTRL_ are settings of the port, such as timeouts
and its quota of connections; "tapgate settings --help" lists them.

Needs root.`,
		Example: `  tapgate bind vnet0 --filter my-filter --mac 52:54:00:00:00:01 --param IP=10.0.0.5
  tapgate bind vnet0 --filter clean-traffic --mac 52:54:00:00:00:01 --param IP=10.0.0.5,10.0.0.6
  tapgate bind vnet0 --filter my-filter --mac 52:54:00:00:00:01 --param CTRL_TIMEOUT_UDP=60
  tapgate bind vnet0
  virsh dumpxml guest | tapgate bind --xml -`,
		Args:              arguments(0, 1, "a port"),
		ValidArgsFunction: completeDevice,
		RunE: func(c *cobra.Command, args []string) error {
			if err := flags.check(args); err != nil {
				return err
			}
			h, err := t.openHost(t.bpffs)
			if err != nil {
				return err
			}
			return t.bind(c.Context(), h, &flags, args)
		},
	}
	flags.guest.register(c)
	c.Flags().StringVar(&flags.filter, "filter", "", "`NAME or FILE` of the filter")
	c.Flags().StringVar(&flags.xml, "xml", "", "`file` with libvirt's XML, - for the standard input")
	c.Flags().BoolVar(&flags.lenient, "lenient", false, "accept files that libvirt accepts, with warnings")
	jsonFlag(c, &flags.asJSON)
	must(c.RegisterFlagCompletionFunc("filter", t.completeFilterFlag))
	must(c.MarkFlagFilename("xml", "xml"))
	return c
}

// check refuses flags that do not go together.
func (f *bindFlags) check(args []string) error {
	described := f.filter != "" || f.guest.mac != "" || len(f.guest.params) > 0
	switch {
	case f.xml != "" && (len(args) > 0 || described):
		return usagef("--xml says everything: it takes no PORT, --filter, --mac or --param")
	case f.xml != "":
		return nil
	case len(args) == 0:
		return usagef("which port? give its device, such as vnet0, or --xml FILE")
	case !described:
		return nil
	case f.filter == "":
		return usagef("which filter? give it with --filter NAME or --filter FILE")
	case f.guest.mac == "":
		return usagef("which guest? give the MAC address of its network card with --mac")
	}
	return nil
}

// bind does it all under the store's lock: the filter that is put in force is
// the one that is stored.
func (t *tool) bind(ctx context.Context, h host, flags *bindFlags, args []string) error {
	return t.update(ctx, func(u *store.Update) error {
		b := &binder{tool: t, host: h, update: u, resolver: &resolver{view: u.View}}
		bindings, err := b.wanted(flags, args)
		if err != nil {
			return err
		}
		done, failed := []bound{}, false
		for i := range bindings {
			one, err := b.bind(ctx, &bindings[i])
			if err != nil && len(bindings) == 1 {
				return err
			}
			if err != nil {
				t.complain(fmt.Errorf("port %s is not bound: %w", bindings[i].Port, err))
				failed = true
				continue
			}
			done = append(done, one)
			if !flags.asJSON {
				one.print(t)
			}
		}
		if flags.asJSON {
			if err := t.printJSON(done); err != nil {
				return err
			}
		}
		if failed {
			return errFaults
		}
		return nil
	})
}

// binder binds ports.
type binder struct {
	*tool
	host     host
	update   *store.Update
	resolver *resolver
}

// wanted are the bindings that the command line asks for.
func (b *binder) wanted(flags *bindFlags, args []string) ([]binding.Binding, error) {
	if flags.xml != "" {
		return b.fromXML(flags.xml, flags.lenient)
	}
	if flags.filter == "" {
		stored, err := b.update.Binding(args[0])
		if errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("port %q was not bound before: give --filter and --mac", args[0])
		}
		if err != nil {
			return nil, err
		}
		return []binding.Binding{*stored}, nil
	}
	mac, err := flags.guest.address()
	if err != nil {
		return nil, err
	}
	params, err := flags.guest.parameters()
	if err != nil {
		return nil, err
	}
	name, err := b.resolver.find(b.tool, flags.filter, flags.lenient)
	if err != nil {
		return nil, err
	}
	return []binding.Binding{{Port: args[0], MAC: mac, Filter: name, Parameters: params}}, nil
}

func (b *binder) fromXML(path string, lenient bool) ([]binding.Binding, error) {
	text, err := b.read(path)
	if err != nil {
		return nil, err
	}
	list, diagnostics := binding.Parse(text, fileName(path), nwfilter.Options{Lenient: lenient})
	if err := diagnostics.Err(); err != nil {
		return nil, err
	}
	b.warn(diagnostics.Warnings())
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no interface of the domain has a <filterref>, so there is nothing to bind", fileName(path))
	}
	return list, nil
}

// bound is what was done.
type bound struct {
	Port         string  `json:"port"`
	Filter       string  `json:"filter"`
	MAC          string  `json:"mac"`
	Rules        int     `json:"rules"`
	Milliseconds float64 `json:"milliseconds"`
	// Definition is set if the filter was stored too.
	Definition *defined `json:"definition,omitempty"`
	datapath.Change

	settings settings.Values
}

// bind guards one port and stores what it now stands for.
func (b *binder) bind(ctx context.Context, want *binding.Binding) (bound, error) {
	start := time.Now()
	done := bound{Port: want.Port, Filter: want.Filter, MAC: want.MAC.String()}
	own := b.resolver.own
	if own != nil {
		if err := b.update.Check(own); err != nil {
			return done, err
		}
	}
	p, err := b.resolver.policy(want.Filter, want.MAC, want.Parameters)
	if err != nil {
		return done, err
	}
	done.Rules = len(p.Clauses)
	host, err := b.update.Settings()
	if err != nil {
		return done, err
	}
	if done.settings, err = settings.Resolve(host, want.Parameters); err != nil {
		return done, err
	}
	meta := datapath.Meta{BoundAt: start.UTC(), Parameters: map[string][]string{}, Settings: done.settings}
	for _, param := range want.Parameters {
		meta.Parameters[param.Name] = append(meta.Parameters[param.Name], param.Value)
	}
	change, err := b.update.Bind(want, own, func() (err error) {
		done.Change, err = b.host.Guard(ctx, want.Port, p, meta)
		return err
	})
	if err != nil {
		return done, err
	}
	if own != nil {
		if done.Definition, err = describeChange(b.update.View, own.Name, change); err != nil {
			return done, err
		}
	}
	done.Milliseconds = float64(time.Since(start).Microseconds()) / 1000
	return done, nil
}

func (d *bound) print(t *tool) {
	before := ""
	if d.Replaced {
		before = " in the place of " + d.Before
	}
	fmt.Fprintf(t.stdout, "port %s guarded by filter %s%s: %s, %.0f ms\n", d.Port, d.Filter, before, plural(d.Rules, "rule"), d.Milliseconds)
	if d.Definition != nil {
		fmt.Fprintf(t.stdout, "filter %s %s\n", d.Filter, d.Definition.What)
		d.Definition.remind(t, d.Port)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(t.stderr, "note: %s\n", note)
	}
}
