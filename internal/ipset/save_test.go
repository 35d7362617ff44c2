package ipset

import (
	"strings"
	"testing"
)

func TestParseSave(t *testing.T) {
	sets, err := ParseSave(`# of ipset save
create peers hash:net family inet hashsize 1024 maxelem 65536
add peers 10.0.0.0/8 timeout 30
add peers 10.1.0.0/16 nomatch
create six hash:ip,port family inet6
add six fd00::1,udp:53 comment "a name server"
create wide hash:ip netmask 24
add wide 10.0.0.77
create "two words" bitmap:port range 0-1000
`, "x")
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, sets["peers"], build(t, "hash:net", 4, "10.0.0.0/8", "10.1.0.0/16 nomatch"))
	sameSet(t, sets["six"], build(t, "hash:ip,port", 6, "fd00::1,udp:53"))
	sameSet(t, sets["wide"], build(t, "hash:ip", 4, "10.0.0.0/24"))
	sameSet(t, sets["two words"], build(t, "bitmap:port", 4))
	for text, fault := range map[string]string{
		"flush x":                              `x:1: expected "create NAME TYPE`,
		"\nadd x 10.0.0.1":                     `x:2: there is no set "x"`,
		"create x list:set size 8":             "type list:set",
		"create x hash:ip\ncreate x hash:ip":   "x:2: the set \"x\" is created twice",
		"create x hash:ip\nadd x 10.0.0":       "no address",
		"create x hash:ip netmask 33":          "a netmask of 33 bits",
		"create x hash:ip netmask x":           "no length",
		"create x hash:ip bitmask 255.0.255.0": "bitmask",
	} {
		if _, err := ParseSave(text, "x"); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", text, err, fault)
		}
	}
}
