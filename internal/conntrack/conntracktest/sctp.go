package conntracktest

import (
	"fmt"
	"strconv"
	"strings"
)

// sctpChunkTypes are the notation's names (RFC 9260 section 3.2).
var sctpChunkTypes = map[string]uint8{
	"data": 0, "init": 1, "init-ack": 2, "sack": 3, "heartbeat": 4, "heartbeat-ack": 5,
	"abort": 6, "shutdown": 7, "shutdown-ack": 8, "error": 9, "cookie-echo": 10,
	"cookie-ack": 11, "shutdown-complete": 14,
}

// sctp reads "tag,chunk,…": a chunk is its name, "zero" for one without a
// length, or "many×name"; behind "=" stands the tag that it announces, or T for
// the T bit.
func sctp(srcPort, dstPort uint16, text string) ([]byte, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
	b := append(udp(srcPort, dstPort, 0, 0)[:4], make([]byte, 8)...)
	if len(fields) == 0 {
		return b, nil
	}
	tag, err := strconv.ParseUint(fields[0], 0, 32)
	if err != nil {
		return nil, err
	}
	be.PutUint32(b[4:], uint32(tag))
	for _, field := range fields[1:] {
		chunk, err := sctpChunk(field)
		if err != nil {
			return nil, err
		}
		b = append(b, chunk...)
	}
	return b, nil
}

func sctpChunk(text string) ([]byte, error) {
	if times, name, ok := strings.Cut(text, "×"); ok {
		n, err := strconv.Atoi(times)
		if err != nil {
			return nil, err
		}
		chunk, err := sctpChunk(name)
		return []byte(strings.Repeat(string(chunk), n)), err
	}
	if text == "zero" {
		return make([]byte, 4), nil
	}
	name, value, _ := strings.Cut(text, "=")
	kind, ok := sctpChunkTypes[name]
	if !ok {
		return nil, fmt.Errorf("unknown chunk %q", text)
	}
	b := []byte{kind, 0, 0, 4}
	switch name {
	case "init", "init-ack":
		tag, err := strconv.ParseUint(value, 0, 32)
		if err != nil {
			return nil, err
		}
		b = append(be.AppendUint32(b, uint32(tag)), make([]byte, 12)...)
		b[3] = 20
	case "data":
		b = append(b, make([]byte, 16)...)
		b[3] = 17 // one byte and its padding
	}
	if value == "T" {
		b[1] = 1
	}
	return b, nil
}
