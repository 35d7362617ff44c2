package packet

import (
	"bytes"
	"slices"
	"testing"
)

// Frames from text have their checksums. What a sender would leave to its network
// card comes back as it was; everything else stays.
func TestFinishChecksum(t *testing.T) {
	for text, want := range map[string]bool{
		"tcp 10.0.0.5:1000 > 10.0.0.1:80 syn":                true,
		"tcp [fd00::5]:1000 > [fd00::1]:80 syn len 7":        true,
		"udp 0.0.0.0:68 > 255.255.255.255:67 len 300":        true,
		"udp [fe80::5]:546 > [ff02::1:2]:547 len 31":         true,
		"icmpv6 fe80::9 > ff02::1:ff00:5":                    true,
		"vlan 7 udp 10.0.0.5:68 > 10.0.0.1:67 len 3":         true,
		"icmp 10.0.0.5 > 10.0.0.1 echo-request id 5 seq 1":   false,
		"arp 10.0.0.5 > 10.0.0.1":                            false,
		"ether 0x88b5 02:00:00:00:00:07 > 02:00:00:00:00:08": false,
		"vlan 7 arp 10.0.0.5 > 10.0.0.1":                     false,
	} {
		t.Run(text, func(t *testing.T) {
			finished, _ := fromText(t, text)
			if got := FinishChecksum(finished); !bytes.Equal(got, finished) {
				t.Fatalf("a whole frame was changed:\n%x\n%x", got, finished)
			}
			unfinished := unfinish(finished)
			if (unfinished != nil) != want {
				t.Fatalf("can be unfinished: %v", unfinished != nil)
			}
			if want && bytes.Equal(finished, unfinished) {
				t.Fatal("the test takes no checksum away")
			}
			before := slices.Clone(unfinished)
			if got := FinishChecksum(unfinished); want && !bytes.Equal(got, finished) {
				t.Errorf("got\n%x, want\n%x", got, finished)
			}
			if !bytes.Equal(before, unfinished) {
				t.Error("the frame that was given was changed")
			}
			if want {
				broken := slices.Clone(finished)
				broken[len(broken)-1] ^= 1
				if got := FinishChecksum(broken); !bytes.Equal(got, broken) {
					t.Error("a wrong checksum was made right")
				}
			}
		})
	}
}

// unfinish leaves the checksum to the network card; nil where there is none.
func unfinish(frame []byte) []byte {
	frame = slices.Clone(frame)
	at := 0
	if be.Uint16(frame[12:]) == EtherTypeVLAN {
		at = 4
	}
	p := Decode(slices.Concat(frame[:12], frame[12+at:]), true)
	field, ok := checksumField[p.LinkProto]
	if !ok || p.Family == 0 {
		return nil
	}
	be.PutUint16(frame[at+int(p.L4Offset)+field:], uint16(p.pseudoHeader()))
	return frame
}

func FuzzFinishChecksum(f *testing.F) {
	f.Add([]byte{0, 1, 2})
	for _, text := range []string{"vlan 7 udp 10.0.0.5:68 > 10.0.0.1:67 len 3", "tcp [fd00::5]:1000 > [fd00::1]:80 syn len 7"} {
		frame, err := FromText(text, testEnds)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(unfinish(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := FinishChecksum(frame)
		if len(got) != len(frame) {
			t.Fatalf("%d bytes became %d", len(frame), len(got))
		}
		if again := FinishChecksum(got); !bytes.Equal(again, got) {
			t.Errorf("finished twice:\n%x\n%x", got, again)
		}
	})
}
