package lint

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
)

// TestSettings: what is related, and what is picked up, depends on the port.
func TestSettings(t *testing.T) {
	const text = `<filter name='top'>
<rule action='accept' direction='in'><tcp dstportstart='2121' state='NEW,ESTABLISHED'/></rule>
<rule action='accept' direction='out'><tcp state='RELATED,ESTABLISHED'/></rule>
<rule action='drop' direction='inout' priority='999'><all/></rule>
<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>
<rule action='drop' direction='inout'><vlan/></rule>
<filterref filter='no-mac-spoofing'><parameter name='CTRL_TIMEOUT_UDP' value='5'/></filterref>
</filter>`
	const unused, errorsDropped = "top:7 unused-parameter problem", "top:4 icmp-errors"
	for _, row := range []struct {
		params []nwfilter.Parameter
		want   []string
	}{
		{nil, []string{"top:2 mid-stream", "top:3 related-without-helper problem", errorsDropped, unused}},
		{[]nwfilter.Parameter{{Name: "CTRL_HELPER_FTP", Value: "2121"}}, []string{"top:2 mid-stream", errorsDropped, unused}},
		{[]nwfilter.Parameter{{Name: "CTRL_HELPER_FTP", Value: "2121"}, {Name: "CTRL_TCP_PICK_UP", Value: "no"}}, []string{errorsDropped, unused}},
	} {
		if diff := cmp.Diff(row.want, briefs(lintFor(t, row.params, text))); diff != "" {
			t.Errorf("%v (-want +got)\n%s", row.params, diff)
		}
	}
}
