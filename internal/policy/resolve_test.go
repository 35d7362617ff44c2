package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
)

var guestMAC = []byte{0x52, 0x54, 0, 0, 0, 1}

// lookup parses documents; the first is the top filter.
func lookup(t *testing.T, documents ...string) (string, func(string) *nwfilter.Filter) {
	t.Helper()
	filters := map[string]*nwfilter.Filter{}
	top := ""
	for _, d := range documents {
		f, faults := nwfilter.Parse([]byte(d), "test.xml", nwfilter.Options{Lenient: true})
		if f == nil {
			t.Fatal(faults)
		}
		if top == "" {
			top = f.Name
		}
		filters[f.Name] = f
	}
	return top, func(name string) *nwfilter.Filter { return filters[name] }
}

func params(pairs ...string) []nwfilter.Parameter {
	var list []nwfilter.Parameter
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		list = append(list, nwfilter.Parameter{Name: name, Value: value})
	}
	return list
}

func resolve(t *testing.T, parameters []nwfilter.Parameter, documents ...string) *Policy {
	t.Helper()
	top, find := lookup(t, documents...)
	p, err := Resolve(top, guestMAC, parameters, find)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines shows a list with chains as a person reads it.
func lines(l *List) []string {
	var out []string
	for _, item := range l.Items {
		if item.Clause != nil {
			out = append(out, item.Clause.String())
			continue
		}
		out = append(out, item.Chain.Name+":")
		for _, c := range item.Chain.Clauses {
			out = append(out, "  "+c.String())
		}
	}
	return out
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestErrorsNameThePathOfReferences(t *testing.T) {
	for name, test := range map[string]struct {
		documents []string
		params    []nwfilter.Parameter
		want      string
	}{
		"missing filter": {
			documents: []string{`<filter name="a"><filterref filter="b"/></filter>`, "<filter name='b'>\n<filterref filter='nosuch'/></filter>"},
			want:      `test.xml:2:1: filter "nosuch" is referenced but not defined (reached through a → b → nosuch); define it with "tapgate filter define"`,
		},
		"loop": {
			documents: []string{`<filter name="a"><filterref filter="b"/></filter>`, `<filter name="b"><filterref filter="a"/></filter>`},
			want:      `test.xml:1:18: filter references loop: a → b → a`,
		},
		"missing variable": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="$PORT"/></rule></filter>`},
			want:      `test.xml:1:58: $PORT has no value; give it with --param NAME=VALUE or a <parameter> of the reference`,
		},
		"element beyond the list": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="$PORT[2]"/></rule></filter>`},
			params:    params("PORT=1", "PORT=2"),
			want:      `test.xml:1:58: $PORT[2] names element 2 of a list of 2; give it with --param NAME=VALUE or a <parameter> of the reference`,
		},
		"lists of different length": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp srcportstart="$A" dstportstart="$B"/></rule></filter>`},
			params:    params("A=1", "A=2", "B=1"),
			want:      `test.xml:1:76: $B has 1 values but $A, which moves in step with it, has 2; give both lists the same length, or different iterators such as $NAME[@1]`,
		},
		"a value that does not fit": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><udp dstportstart="$P"/></rule></filter>`},
			params:    params("P=dns"),
			want:      `test.xml:1:58: <udp> dstportstart="$P": the value "dns" does not fit`,
		},
		"a variable that a later element replaces": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp srcportstart="$A" dstportstart="$B"/><tcp dstportstart="80"/></rule></filter>`},
			params:    params("A=1", "A=2", "B=1"),
			want:      `test.xml:1:76: $B has 1 values but $A, which moves in step with it, has 2`,
		},
		"a replaced variable without a value": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="$B"/><tcp dstportstart="80"/></rule></filter>`},
			want:      `test.xml:1:58: $B has no value`,
		},
		"empty range": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><tcp dstportstart="80" dstportend="22"/></rule></filter>`},
			want:      `test.xml:1:58: <tcp> dstportstart="80" is above dstportend="22": the range is empty`,
		},
		"neighbour discovery without its protocol": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><ipv6 ndmacaddr="52:54:00:00:00:01"/></rule></filter>`},
			want:      `test.xml:1:59: <ipv6> ndmacaddr needs a plain protocol="icmpv6" beside it`,
		},
		"neighbour discovery of everything but ICMPv6": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><ipv6 match="no" protocol="icmpv6" ndtargetipaddr="fd00::1"/></rule></filter>`},
			want:      `test.xml:1:88: <ipv6> ndtargetipaddr needs a plain protocol="icmpv6" beside it`,
		},
		"a setting as a variable": {
			documents: []string{`<filter name="a"><filterref filter="b"/></filter>`, `<filter name="b"><rule action="drop" direction="in"><tcp dstportstart="$CTRL_HELPER_FTP"/></rule></filter>`},
			params:    params("CTRL_HELPER_FTP=21"),
			want:      `test.xml:1:58: $CTRL_HELPER_FTP: names that begin with CTRL_ are settings of the port, which rules cannot use (reached through a → b); give the variable another name`,
		},
		"an address to be learned": {
			documents: []string{`<filter name="a"><rule action="drop" direction="in"><ip srcipaddr="$IP"/></rule></filter>`},
			want:      `test.xml:1:57: $IP has no value; a port that is bound learns it from what its guest does; here give it with --param IP=ADDRESS`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			top, find := lookup(t, test.documents...)
			_, err := Resolve(top, guestMAC, test.params, find)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestOuterParametersWin(t *testing.T) {
	inner := `<filter name="b"><rule action="drop" direction="in"><mac protocolid="$P"/></rule></filter>`
	for name, test := range map[string]struct {
		params []nwfilter.Parameter
		want   string
	}{
		"the reference's default":  {nil, "drop ethertype=0x1111"},
		"the binding overrides it": {params("P=2222"), "drop ethertype=0x2222"},
	} {
		t.Run(name, func(t *testing.T) {
			p := resolve(t, test.params, `<filter name="a"><filterref filter="b"><parameter name="P" value="1111"/></filterref></filter>`, inner)
			want(t, lines(p.Link[In]), test.want)
		})
	}
}
