package agent

import (
	"fmt"
	"testing"

	"tapgate/examples"
)

// BenchmarkAFilterOfAThousandPorts changes a filter that so many ports use, but for
// what the kernel does: reading, working out and storing.
func BenchmarkAFilterOfAThousandPorts(b *testing.B) {
	k := newKit(b, &DaemonOptions{})
	if _, err := k.Define(b.Context(), alice, Document{Source: string(examples.FTPStates)}, false); err != nil {
		b.Fatal(err)
	}
	top := func(n int) string {
		return filterDoc("top", "<filterref filter='ftp-states'/>"+rule(fmt.Sprintf("<tcp dstportstart='%d'/>", 2000+n%1000)))
	}
	k.mustDefine(top(0))
	for i := range 1000 {
		name := fmt.Sprintf("vnet%d", i)
		k.host.add(name)
		k.mustBind(name, "top", fmt.Sprintf("IP=10.0.%d.%d", i>>8, i&255))
	}
	for n := 1; b.Loop(); n++ {
		if done := k.mustDefine(top(n)); len(done.Ports) != 1000 || done.Ports[0].Result != PortUpdated {
			b.Fatalf("%+v", done.Ports[0])
		}
	}
}
