package learn

import (
	"encoding/binary"
	"net"
	"slices"
	"time"
)

// memoryVersion is the first byte of what Memory gives.
const memoryVersion = 1

// memory is what a machine must know of the past beside leases. Lists are bounded
// and in the order in which things happened.
type memory struct {
	requests  []request
	requests6 []request6
	prefixes  []prefix
	probes    []probe
	others    []other
}

// memoryHead is the configuration under which the memory came to be.
type memoryHead struct {
	Version uint8
	MAC     [6]byte
	Mode    uint8
}

// Memory is what New needs beside the leases, at most 4,096 bytes. It is for the
// same host until that is booted again: it tells of open exchanges, and of what
// routers have advertised.
func (p *Port) Memory() []byte {
	head := memoryHead{Version: memoryVersion, Mode: uint8(p.config.Mode)}
	copy(head.MAC[:], p.config.MAC)
	b, _ := binary.Append(nil, binary.BigEndian, head) // of fixed size, so without errors
	b = appendList(b, p.memory.requests)
	b = appendList(b, p.memory.requests6)
	b = appendList(b, p.memory.prefixes)
	b = appendList(b, p.memory.probes)
	return appendList(b, p.memory.others)
}

// readMemory reads what Memory gave, and under which MAC address and mode.
func readMemory(b []byte) (m memory, before Config, ok bool) {
	var head memoryHead
	n, err := binary.Decode(b, binary.BigEndian, &head)
	if err != nil || head.Version != memoryVersion || int(head.Mode) >= len(modes) {
		return memory{}, Config{}, false
	}
	b = b[n:]
	if !cutList(&b, &m.requests, maxRequests) || !cutList(&b, &m.requests6, maxRequests) || !cutList(&b, &m.prefixes, maxPrefixes) ||
		!cutList(&b, &m.probes, maxProbes) || !cutList(&b, &m.others, maxOthers) || len(b) > 0 {
		return memory{}, Config{}, false
	}
	return m, Config{MAC: net.HardwareAddr(head.MAC[:]), Mode: Mode(head.Mode)}, true
}

// appendList writes a list of things of fixed size: their number in a byte, and
// each of them.
func appendList[T any](b []byte, list []T) []byte {
	b = append(b, byte(len(list)))
	b, _ = binary.Append(b, binary.BigEndian, list)
	return b
}

// cutList reads such a list off the beginning of b.
func cutList[T any](b *[]byte, list *[]T, limit int) bool {
	if len(*b) == 0 || int((*b)[0]) > limit {
		return false
	}
	*list = make([]T, (*b)[0])
	n, err := binary.Decode((*b)[1:], binary.BigEndian, *list)
	if err != nil {
		return false
	}
	*b = (*b)[1+n:]
	return true
}

// forget removes what no longer counts.
func (m *memory) forget(now time.Time) {
	since := now.Add(-requestTime).UnixNano()
	m.requests = slices.DeleteFunc(m.requests, func(r request) bool { return r.At <= since })
	m.requests6 = slices.DeleteFunc(m.requests6, func(r request6) bool { return r.At <= since })
	m.prefixes = slices.DeleteFunc(m.prefixes, func(x prefix) bool { return x.End != 0 && x.End <= now.UnixNano() })
	m.probes = slices.DeleteFunc(m.probes, func(t probe) bool { return t.At <= now.Add(-probeTime).UnixNano() })
	m.others = slices.DeleteFunc(m.others, func(o other) bool { return o.End <= now.UnixNano() })
}

// bounded keeps the last things of a list.
func bounded[T any](list []T, limit int) []T {
	return slices.Delete(list, 0, max(0, len(list)-limit))
}
