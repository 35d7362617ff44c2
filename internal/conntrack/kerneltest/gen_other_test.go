package kerneltest

import (
	"fmt"

	"pgregory.net/rapid"
)

// drawOther draws everything that is neither TCP nor SCTP, several flows in one
// sequence, and errors about them.
func drawOther(t *rapid.T) string {
	return draw(t, rapid.Bool().Draw(t, "v6"), func(s *sequence) {
		side := s.side()
		what, options := drawPacket(s, side)
		if s.chance(25) {
			drawError(s, side)
			return
		}
		if s.chance(5) {
			options = append(options, fmt.Sprintf("cut=%d", oneOf(s, 0, 1, 3, 4, 7)))
		}
		if s.v6 && s.chance(20) {
			options = append(options, "behind="+oneOf(s, "0", "60", "43", "51", "0,60", "60,51", "0,60,43,51"))
		}
		if s.chance(3) {
			options = append(options, fmt.Sprintf("as=%d", oneOf(s, 1, 58, 6, 17, 132, 136, 47, 33, 59, 50)))
		}
		s.add(what, options...)
	})
}

func drawPacket(s *sequence, side byte) (what string, options []string) {
	switch oneOf(s, 0, 0, 1, 1, 2, 3, 4, 5) {
	case 0:
		what = fmt.Sprintf("udp+%d", oneOf(s, 0, 1, 20))
		if s.chance(15) {
			options = append(options, fmt.Sprintf("length=%d", oneOf(s, 0, 4, 7, 8, 9, 27, 28, 29, 65535)))
		}
		if s.chance(5) {
			options = append(options, "ports=equal")
		}
	case 1:
		kinds := []int{8, 8, 0, 0, 13, 14, 15, 16, 17, 18, 1, 2, 6, 9, 10, 19, 30, 255}
		if s.v6 {
			kinds = []int{128, 128, 129, 129, 139, 140, 130, 133, 135, 136, 137, 138, 141, 143, 151, 152, 153, 255}
		}
		what = fmt.Sprintf("icmp(%d,%d,%d)", oneOf(s, kinds...), oneOf(s, 0, 0, 0, 1), oneOf(s, 7, 7, 8))
	case 2:
		what = fmt.Sprintf("gre(%d,%d,%d)", oneOf(s, 0, 1, 1, 2, 0x81), oneOf(s, 0, 7, 9), oneOf(s, 0x880b, 0x880b, 0x800))
	case 3:
		what = fmt.Sprintf("udplite+%d", oneOf(s, 0, 20))
		if s.chance(30) {
			options = append(options, fmt.Sprintf("length=%d", oneOf(s, 0, 1, 7, 8, 9, 28, 29)))
		}
		if s.chance(10) {
			options = append(options, "checksum=0")
		}
	case 4:
		what = fmt.Sprintf("proto(%d)+%d", oneOf(s, 2, 4, 33, 41, 50, 89, 103, 112, 253, 255, 59, 135), oneOf(s, 0, 4, 20))
	case 5:
		what = oneOf(s, "A", "S", "sctp(9,heartbeat)")
	}
	return fmt.Sprintf("%c:%s", side, what), options
}

// drawError appends an ICMP error about one of the packets that may have been
// sent.
func drawError(s *sequence, side byte) {
	about, _ := drawPacket(s, s.side())
	kinds := []int{3, 3, 4, 5, 11, 12}
	if s.v6 {
		kinds = []int{1, 1, 2, 3, 4, 0, 100, 127, 137, 137}
	}
	kind := oneOf(s, kinds...)
	options := []string{"about=" + about}
	if kind == 137 {
		options = append(options, fmt.Sprintf("redirect=%d", oneOf(s, 4, 4, 4, 2)))
		options = append(options, fmt.Sprintf("hops=%d", oneOf(s, 255, 255, 255, 64)))
		options = append(options, "src="+oneOf(s, "l", "l", "x"))
	} else if s.chance(30) {
		options = append(options, "src=x")
	}
	if s.chance(10) {
		options = append(options, "dst="+oneOf(s, "o", "r", "x"))
	}
	if s.chance(20) {
		options = append(options, fmt.Sprintf("keep=%d", oneOf(s, 0, 3, 4, 7, 8)))
	}
	if s.chance(5) {
		options = append(options, "quoted-more=1")
	}
	if s.chance(5) {
		options = append(options, "quoted-offset=8")
	}
	if s.v6 && s.chance(20) {
		options = append(options, "quoted-behind="+oneOf(s, "0", "60", "43,51", "0,60"))
	}
	if s.chance(5) {
		options = append(options, fmt.Sprintf("cut=%d", oneOf(s, 4, 7, 8, 20, 28, 30, 48)))
	}
	s.add(fmt.Sprintf("%c:icmp(%d,%d,0)", side, kind, oneOf(s, 0, 0, 1, 3)), options...)
}
