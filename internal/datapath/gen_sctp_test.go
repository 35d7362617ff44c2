package datapath

// poolChunk are chunk types: those that the tracker knows, SACK and two that
// nothing knows.
var poolChunk = []byte{0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 14, 12, 192}

// drawSCTP draws an SCTP packet, mostly with one chunk and the tag that its
// receiver has announced, so that associations come about.
func drawSCTP(t *source, f flow, out bool) []byte {
	own, peer := uint32(1), uint32(2) // tags that the packet carries and announces
	if !out {
		own, peer = peer, own
	}
	kinds := make([]byte, oneOf(t, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 0, 9}))
	for i := range kinds {
		kinds[i] = oneOf(t, poolChunk)
	}
	tag := own
	switch {
	case t.chance(20):
		tag = oneOf(t, []uint32{0, peer, 3})
	case len(kinds) == 1 && kinds[0] == 1:
		tag = 0
	}
	b := f.ports(out)
	b = be.AppendUint32(b, tag)
	b = append(b, 0, 0, 0, 0)
	for _, kind := range kinds {
		chunk := []byte{kind, oneOf(t, []byte{0, 0, 0, 1, 3}), 0, 0}
		switch kind {
		case 1, 2:
			chunk = append(be.AppendUint32(chunk, oneOf(t, []uint32{peer, peer, peer, peer, own, 3})), make([]byte, 12)...)
		default:
			chunk = append(chunk, make([]byte, oneOf(t, []int{0, 0, 4, 12}))...)
		}
		be.PutUint16(chunk[2:], uint16(len(chunk)))
		if t.chance(10) { // no length, one with padding, one beyond the packet
			be.PutUint16(chunk[2:], oneOf(t, []uint16{0, uint16(len(chunk) - 1), 1000}))
		}
		b = append(b, chunk...)
	}
	if t.chance(5) {
		b = b[:t.between(0, len(b))]
	}
	return b
}
