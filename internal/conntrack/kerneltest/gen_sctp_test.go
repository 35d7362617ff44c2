package kerneltest

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// The tags that o's and r's packets carry in a regular association.
var sctpTags = map[byte]int{'o': 9, 'r': 7}

// drawSCTP draws associations, mostly with the tags that belong there.
func drawSCTP(t *rapid.T) string {
	return draw(t, rapid.IntRange(0, 9).Draw(t, "v6") == 9, func(s *sequence) {
		s.pause()
		side := s.side()
		switch kind := rapid.IntRange(0, 29).Draw(s.t, "kind"); {
		case kind < 4:
			sctpAssociation(s, side)
		case kind < 6:
			sctpShutdown(s, side)
		case kind < 24:
			sctpPacket(s, side, 1)
		case kind < 29:
			sctpPacket(s, side, rapid.IntRange(2, 4).Draw(s.t, "chunks"))
		default:
			s.add(fmt.Sprintf("%c:icmp(3,2,0)", side), fmt.Sprintf("about=%c:sctp(9,data)", s.side()))
		}
	})
}

func sctpAdd(s *sequence, side byte, tag int, chunks ...string) {
	var options []string
	if s.chance(2) {
		options = append(options, fmt.Sprintf("cut=%d", oneOf(s, 12, 13, 15, 16, 11, 8, 4)))
	}
	s.add(fmt.Sprintf("%c:sctp(%d,%s)", side, tag, strings.Join(chunks, ",")), options...)
}

// sctpAssociation opens one, or as much of it as gets through.
func sctpAssociation(s *sequence, side byte) {
	peer := other(side)
	sctpAdd(s, side, 0, fmt.Sprintf("init=%d", sctpTags[peer]))
	sctpAdd(s, peer, sctpTags[peer], fmt.Sprintf("init-ack=%d", sctpTags[side]))
	sctpAdd(s, side, sctpTags[side], "cookie-echo", "data")
	sctpAdd(s, peer, sctpTags[peer], "cookie-ack")
}

func sctpShutdown(s *sequence, side byte) {
	peer := other(side)
	sctpAdd(s, side, sctpTags[side], "shutdown")
	sctpAdd(s, peer, sctpTags[peer], "shutdown-ack")
	sctpAdd(s, side, sctpTags[side], "shutdown-complete")
}

func sctpPacket(s *sequence, side byte, chunks int) {
	tag := sctpTags[side]
	if s.chance(30) {
		tag = oneOf(s, 0, sctpTags[other(side)], 5)
	}
	var list []string
	for range chunks {
		chunk := oneOf(s, "data", "sack", "heartbeat", "heartbeat-ack", "heartbeat", "heartbeat-ack", "init", "init-ack",
			"cookie-echo", "cookie-ack", "shutdown", "shutdown-ack", "shutdown-complete", "abort", "error", "zero")
		switch chunk {
		case "init", "init-ack":
			chunk = fmt.Sprintf("%s=%d", chunk, oneOf(s, sctpTags[other(side)], sctpTags[side], 5, 0))
			if chunk[4] == '=' && s.chance(70) {
				tag = 0
			}
		case "abort", "shutdown-complete":
			chunk += oneOf(s, "", "=T")
		}
		list = append(list, chunk)
	}
	sctpAdd(s, side, tag, list...)
}
