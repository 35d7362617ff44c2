package compile

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

func TestTooLargeIsSaid(t *testing.T) {
	p := &policy.Policy{Filter: "huge"}
	for _, d := range policy.Directions {
		p.Link[d] = &policy.List{Stage: nwfilter.LinkStage}
		p.Network[d] = &policy.List{Items: []policy.Item{{Clause: &policy.Clause{}}}}
	}
	fits := Function{"policy_net", make(asm.Instructions, maxInstructions)}
	if err := checkSize([]Function{fits}, p, policy.In); err != nil {
		t.Error(err)
	}
	for name, functions := range map[string][]Function{
		"instructions": {fits, {"one_more", make(asm.Instructions, 1)}},
		"functions":    make([]Function, maxFunctions+1),
	} {
		err := checkSize(functions, p, policy.Out)
		if err == nil {
			t.Errorf("too many %s: no error", name)
			continue
		}
		for _, word := range []string{`"huge"`, "too large", "1 clauses for packets from the guest", "use fewer rules"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("too many %s: %q lacks %q", name, err, word)
			}
		}
	}
}
