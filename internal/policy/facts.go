package policy

import (
	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

func (f *Facts) add(c *Clause, stage nwfilter.Stage) {
	f.ConnLimit = f.ConnLimit || c.ConnLimit != nil
	f.IPSet = f.IPSet || c.IPSet != nil
	f.Reject = f.Reject || stage == nwfilter.NetworkStage && c.Action == nwfilter.Reject
	for _, cond := range c.Conditions {
		for _, t := range cond.Terms {
			switch {
			case t.Field == packet.ConnState:
				f.States = true
				f.Related = f.Related || t.Mask.Lo&uint64(packet.StateRelated) != 0
			case t.Field == packet.ConnDirection:
				f.States = true
			case t.Field >= packet.TCPOptions0 && t.Field <= packet.TCPOptions3:
				f.TCPOptions = true
			case t.Field == packet.NDTarget || t.Field == packet.NDMAC:
				f.Discovery = true
			}
		}
	}
}

// Tracked tells whether connections must be tracked.
func (f *Facts) Tracked() bool { return f.States || f.ConnLimit }

// Lacks tells whether p is a fragment without the transport header, or the
// part of it, that the condition compares. A state needs the whole header.
func (c *Condition) Lacks(p *packet.Packet) bool {
	if p.Fragment < packet.FragmentOrphan {
		return false
	}
	for _, t := range c.Terms {
		if info := t.Field.Info(); info.Transport && p.Have&info.Needs == 0 {
			return true
		}
	}
	return false
}

// NeedsTransport tells whether the condition compares what a later fragment
// does not know by itself.
func (c *Condition) NeedsTransport() bool {
	for _, t := range c.Terms {
		if t.Field.Info().Transport {
			return true
		}
	}
	return false
}
