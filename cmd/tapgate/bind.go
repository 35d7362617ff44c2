package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
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
example after a restart of the host. --filter FILE defines the filter too, which puts
it in force on the other ports that use it.

With the daemon the device need not be there yet: the binding waits for it.

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
			return t.bind(c.Context(), &flags, args)
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

// wanted is a binding that the command line asks for.
type wanted struct {
	client.Binding
	// own is the filter that is to be defined with it, nil for none.
	own *client.Document
	// again is set if the stored binding is wanted, whatever it says.
	again bool
}

// bind binds all that is wanted, one after the other.
func (t *tool) bind(ctx context.Context, flags *bindFlags, args []string) error {
	c, err := t.clientToChange(ctx)
	if err != nil {
		return err
	}
	bindings, err := t.wanted(ctx, c, flags, args)
	if err != nil {
		return err
	}
	done, failed := []*client.Bound{}, false
	for i := range bindings {
		one, err := bindings[i].bind(ctx, c)
		if err != nil && len(bindings) == 1 {
			return err
		}
		if err != nil {
			t.complain(fmt.Errorf("port %s is not bound: %w", bindings[i].Port, err))
			failed = true
			continue
		}
		one.Settings = nil // "tapgate settings --port" shows them
		done = append(done, one)
		if !flags.asJSON {
			t.printBound(one)
		}
		failed = t.printBeside(one, flags.asJSON) || failed
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
}

func (w *wanted) bind(ctx context.Context, c *client.Client) (*client.Bound, error) {
	if w.again {
		return c.BindAgain(ctx, w.Port)
	}
	return c.Bind(ctx, w.Binding, w.own)
}

func (t *tool) wanted(ctx context.Context, c *client.Client, flags *bindFlags, args []string) ([]wanted, error) {
	if flags.xml != "" {
		return t.wantedByXML(flags.xml, flags.lenient)
	}
	if flags.filter == "" {
		return []wanted{{Binding: client.Binding{Port: args[0]}, again: true}}, nil
	}
	mac, err := flags.guest.address()
	if err != nil {
		return nil, err
	}
	params, err := flags.guest.parameters()
	if err != nil {
		return nil, err
	}
	r := newResolver(ctx, c)
	name, err := r.find(t, flags.filter, flags.lenient)
	if err != nil {
		return nil, err
	}
	w := wanted{Binding: clientBinding(&binding.Binding{Port: args[0], MAC: mac, Filter: name, Parameters: params})}
	if r.own != nil {
		w.own = &client.Document{Source: string(r.own.Source), File: r.own.File, Lenient: r.own.Lenient}
	}
	return []wanted{w}, nil
}

func (t *tool) wantedByXML(path string, lenient bool) (all []wanted, err error) {
	text, err := t.read(path)
	if err != nil {
		return nil, err
	}
	list, diagnostics := binding.Parse(text, fileName(path), nwfilter.Options{Lenient: lenient})
	if err := diagnostics.Err(); err != nil {
		return nil, err
	}
	t.warn(diagnostics.Warnings())
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no interface of the domain has a <filterref>, so there is nothing to bind", fileName(path))
	}
	for i := range list {
		all = append(all, wanted{Binding: clientBinding(&list[i])})
	}
	return all, nil
}

// clientBinding is a binding as it is asked for.
func clientBinding(b *binding.Binding) client.Binding {
	asked := client.Binding{Port: b.Port, MAC: b.MAC.String(), Filter: b.Filter, LinkDevice: b.LinkDevice}
	for _, p := range b.Parameters {
		one := client.Parameter{Name: p.Name, Value: p.Value}
		if p.Pos.Line > 0 {
			at := client.Position(p.Pos)
			one.Position = &at
		}
		asked.Parameters = append(asked.Parameters, one)
	}
	if b.OwnerName != "" || b.OwnerUUID != "" {
		asked.Owner = &client.Owner{Name: b.OwnerName, UUID: b.OwnerUUID}
	}
	return asked
}

func (t *tool) printBound(d *client.Bound) {
	switch {
	case d.Waiting:
		fmt.Fprintf(t.stdout, "port %s waits for its device; filter %s will guard it: %s\n", d.Port, d.Filter, plural(d.Rules, "rule"))
	case d.Replaced:
		fmt.Fprintf(t.stdout, "port %s guarded by filter %s in the place of %s: %s, %.0f ms\n", d.Port, d.Filter, d.Before, plural(d.Rules, "rule"), d.Milliseconds)
	default:
		fmt.Fprintf(t.stdout, "port %s guarded by filter %s: %s, %.0f ms\n", d.Port, d.Filter, plural(d.Rules, "rule"), d.Milliseconds)
	}
	if d.Learning != nil && len(d.Learning.Waiting) > 0 {
		nothing := "nothing of that family"
		if d.Learning.Restricted {
			nothing = "nothing"
		}
		fmt.Fprintf(t.stdout, "port %s learns $%s (%s): until then %s passes but what teaches it\n", d.Port, strings.Join(d.Learning.Waiting, " and $"), d.Learning.Mode, nothing)
	}
	if d.Definition != nil {
		fmt.Fprintf(t.stdout, "filter %s %s\n", d.Filter, d.Definition.What)
	}
}

// printBeside tells what became of other ports, and what else there is to say.
func (t *tool) printBeside(d *client.Bound, asJSON bool) (failed bool) {
	if d.Definition != nil {
		t.printNotes(d.Definition.Notes)
		failed = t.printPortChanges(d.Definition.Ports, asJSON)
	}
	t.printNotes(d.Notes)
	return failed
}
