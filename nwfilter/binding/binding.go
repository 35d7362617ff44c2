// Package binding reads what binds a filter to a port, in the three forms in
// which libvirt's documents say it: a <filterbinding>, the <interface> of a
// domain, and a whole <domain>.
package binding

import (
	"net"
	"strings"

	"tapgate/nwfilter"
)

// Binding says which filter a port gets, and with which parameters.
type Binding struct {
	// Port is the name of the host-side device.
	Port string
	// MAC is the guest's address on the port.
	MAC    net.HardwareAddr
	Filter string
	// Parameters stand in document order; a repeated name makes a list.
	Parameters []nwfilter.Parameter
	// OwnerName and OwnerUUID name the guest; both may be empty where the
	// document is no <filterbinding>.
	OwnerName, OwnerUUID string
	// LinkDevice is the physical device under a macvtap, else empty.
	LinkDevice string
	Pos        nwfilter.Position
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;",
	"\t", "&#9;", "\n", "&#10;", "\r", "&#13;").Replace

// Format prints a binding as a <filterbinding> the way libvirt does, the
// parameters sorted by name.
func Format(b *Binding) string {
	var out strings.Builder
	line := func(parts ...string) {
		for _, p := range parts {
			out.WriteString(p)
		}
		out.WriteByte('\n')
	}
	line("<filterbinding>")
	line("  <owner>")
	line("    <name>", escape(b.OwnerName), "</name>")
	line("    <uuid>", escape(b.OwnerUUID), "</uuid>")
	line("  </owner>")
	line("  <portdev name='", escape(b.Port), "'/>")
	if b.LinkDevice != "" {
		line("  <linkdev name='", escape(b.LinkDevice), "'/>")
	}
	line("  <mac address='", b.MAC.String(), "'/>")
	out.WriteString("  " + nwfilter.FormatReference(b.Filter, b.Parameters, "  "))
	line("</filterbinding>")
	return out.String()
}
