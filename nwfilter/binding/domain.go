package binding

import (
	"fmt"

	"tapgate/nwfilter"
	"tapgate/nwfilter/internal/document"
)

// domain reads every interface that has a filter. The domain's name and UUID
// are the owner; a domain that is being written may lack the UUID.
func (r *reader) domain(e *document.Element) []Binding {
	var owner Binding
	if name := e.Child("name"); name != nil {
		owner.OwnerName = string(name.Text)
	}
	if uuid := e.Child("uuid"); uuid != nil {
		var ok bool
		if owner.OwnerUUID, ok = document.UUID(string(uuid.Text)); !ok {
			r.Refuse(uuid, nil, fmt.Sprintf("<uuid> cannot be %s: expected 32 hexadecimal digits", document.Quote(string(uuid.Text))), "")
		}
	}
	var bindings []Binding
	seen := map[string]nwfilter.Position{}
	for _, devices := range e.Children {
		if devices.Name != "devices" {
			continue
		}
		for _, c := range devices.Children {
			if c.Name != "interface" || c.Child("filterref") == nil {
				continue
			}
			b := r.networkInterface(c)
			b.OwnerName, b.OwnerUUID = owner.OwnerName, owner.OwnerUUID
			if first, again := seen[b.Port]; again && b.Port != "" {
				r.Refuse(c, nil, fmt.Sprintf("the device %s is also that of the interface in line %d", document.Quote(b.Port), first.Line), "")
			}
			seen[b.Port] = b.Pos
			bindings = append(bindings, b)
		}
	}
	return bindings
}

// networkInterface reads an <interface>. Only what concerns the filter is
// looked at: an interface says much else.
func (r *reader) networkInterface(e *document.Element) Binding {
	b := Binding{Pos: r.position(e.Place)}
	const hint = "libvirt chooses the device when the guest starts: take the XML of the running guest, as virsh dumpxml prints it"
	if target := r.required(e, "target", hint); target != nil {
		b.Port = r.device(target, "dev")
	}
	r.mac(e, &b)
	r.filterRef(e, &b)
	if source := e.Child("source"); source != nil && e.Value("type") == "direct" && source.Value("dev") != "" {
		b.LinkDevice = r.device(source, "dev")
	}
	return b
}
