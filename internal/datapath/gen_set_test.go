package datapath

import (
	"fmt"
	"strings"

	"tapgate/internal/ipset"
)

var (
	setNames = []string{"s1", "s2"}
	setFlags = []string{"src", "dst", "src,dst", "dst,src", "src,src", "dst,dst", "src,dst,dst", "dst,src,src"}
	setTypes = []string{
		"hash:ip", "hash:net", "hash:mac", "hash:ip,mac", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net",
		"bitmap:ip", "bitmap:port",
	}
)

// drawSets draws a set for each name, whose members packets often hit.
func drawSets(t *source) (sets ipset.Sets, described string) {
	sets = ipset.Sets{}
	for _, name := range setNames {
		set, err := ipset.New(name, oneOf(t, setTypes), oneOf(t, []uint8{4, 4, 6}))
		if err != nil {
			t.Fatal(err)
		}
		described += fmt.Sprintf("%s %s IPv%d:", name, set.Type, set.Family)
		for range t.between(0, 8) {
			member := drawMember(t, set)
			if err := set.Add(member); err != nil {
				t.Fatal(err)
			}
			described += " {" + member + "}"
		}
		sets[name] = set
		described += "\n"
	}
	return sets, described
}

func drawMember(t *source, s *ipset.Set) string {
	var parts []string
	for _, kind := range s.Kinds {
		pool, masks := poolIPv4, []string{"/32", "/24", "/8", "/31", "/1"}
		if s.Family == 6 {
			pool, masks = poolIPv6, []string{"/128", "/64", "/127", "/65", "/63", "/1"}
		}
		switch kind {
		case ipset.Port:
			if s.Type == "bitmap:port" {
				parts = append(parts, fmt.Sprint(oneOf(t, poolPort)))
				continue
			}
			parts = append(parts, oneOf(t, []string{
				fmt.Sprintf("tcp:%d", oneOf(t, poolPort)), fmt.Sprintf("tcp:%d", oneOf(t, poolPort)),
				fmt.Sprintf("udp:%d", oneOf(t, poolPort)), fmt.Sprintf("sctp:%d", oneOf(t, poolPort)),
				"icmp:8/0", "icmp:0/0", "icmpv6:128/0", "icmpv6:129/1", "igmp:0", "esp:0", "dccp:0",
			}))
		case ipset.MAC:
			parts = append(parts, oneOf(t, poolMAC))
		case ipset.Net:
			parts = append(parts, oneOf(t, pool)+oneOf(t, masks))
		default:
			parts = append(parts, oneOf(t, pool))
		}
	}
	member := strings.Join(parts, ",")
	if t.chance(20) && strings.Contains(s.Type, "net") {
		member += " nomatch"
	}
	return member
}
