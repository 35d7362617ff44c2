// Package compile turns a policy into eBPF instructions: the subprograms
// policy_link and policy_net of each direction, which take the place of the
// stubs in the port's programs. Constants become immediates and chains forward jumps;
// nothing is interpreted in the kernel.
//
// A subprogram takes a pointer to the skeleton's struct packet and returns
// verdict<<28 | clause. Between clauses only R6, the packet, is alive: a value
// that stays in a register while clauses branch on it gives the verifier as many
// states as it has histories, each of which it follows to the end of the list.
// What is loaded again from memory is unknown, so that all ways to a clause
// are one.
//
// Runs of clauses are not tested one by one where they have a condition in
// common, which is tested once (run.go), or each compare the same field, which
// is searched for (search.go).
package compile

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/ipset"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// Codes of a subprogram's result, as in maps.h.
const (
	codePass      = 0
	codeDrop      = 1
	codeReject    = 2
	codeNext      = 3 // nothing decided: the caller goes on
	codeUndecided = 4 // an orphan fragment lacks what the clause compares
	codeReturn    = 5 // a chain hands back to the root
	// LimitFunction returns 1 if a limit is exceeded, 0 if not, and what is
	// above as the code of a packet whose connection it could not count.
	maxExceeded = 1
	noClause    = 0x0fffffff
)

// Layout are the offsets of struct packet's members by name, from the
// skeleton's BTF.
type Layout map[string]int16

// Function is one subprogram. Its first instruction is fit to carry a
// function's metadata.
type Function struct {
	Name         string
	Instructions asm.Instructions
}

// Names of the subprograms that the port's programs call.
const (
	LinkFunction    = "policy_link"
	NetworkFunction = "policy_net"
	// CountFunction counts a match that does not end its list; the port's program
	// counts the others.
	CountFunction = "count_clause"
	// LimitFunction counts the connections of the packet's source.
	LimitFunction = "count_limit"
)

// Compile makes the functions of one direction: LinkFunction and
// NetworkFunction, and those that they call where a list is long. The kernel
// sets tell the shape of the look-ups; their members are in the maps SetMap.
func Compile(p *policy.Policy, d policy.Direction, layout Layout, sets ipset.Sets) ([]Function, error) {
	if len(p.Clauses) >= noClause {
		return nil, fmt.Errorf("the policy has %d clauses: too many", len(p.Clauses))
	}
	var functions []Function
	for _, l := range []*policy.List{p.Link[d], p.Network[d]} {
		name := LinkFunction
		if l.Stage == nwfilter.NetworkStage {
			name = NetworkFunction
		}
		c := &compiler{layout: layout, sets: sets, setNames: p.SetNames(), stage: l.Stage, name: name, tests: map[testKey]*test{}}
		c.list(l)
		if c.err != nil {
			return nil, c.err
		}
		functions = append(functions, c.functions...)
	}
	return functions, checkSize(functions, p, d)
}

// A subprogram may hold this many conditional jumps: the verifier keeps at
// most 8,192 of them pending (BPF_COMPLEXITY_LIMIT_JMP_SEQ), and 16-bit jump
// offsets must reach across it.
const maxJumps = 4000

// The kernel takes 256 subprograms (BPF_MAX_SUBPROGS) and verifies a million
// instructions (BPF_COMPLEXITY_LIMIT_INSNS); the skeleton and instructions that
// are verified twice take their share of both.
const (
	maxFunctions    = 200
	maxInstructions = 500_000
)

type compiler struct {
	layout    Layout
	sets      ipset.Sets
	setNames  []string
	stage     nwfilter.Stage
	name      string
	functions []Function
	extra     int
	tests     map[testKey]*test
	err       error
}

// list compiles a list into the function c.name. What is too long for one
// function goes into others, called in order.
func (c *compiler) list(l *policy.List) {
	main := c.begin(c.name)
	main.normalise()
	split := listCost(l) > maxJumps
	var run []*policy.Clause
	flush := func() {
		c.run(main, run, split)
		run = nil
	}
	for i, item := range l.Items {
		if item.Clause != nil {
			run = append(run, item.Clause)
			continue
		}
		flush()
		after := fmt.Sprintf("%s_after_%d", c.name, i)
		for k := range item.Chain.Conditions {
			main.condition(&item.Chain.Conditions[k], after, known{})
		}
		main.after = after
		c.run(main, item.Chain.Clauses, split)
		main.after = ""
		main.exit(codePass, noClause)
		main.label(after)
	}
	flush()
	main.exit(codePass, noClause)
	c.end(main)
}

// run compiles clauses in place, or split over functions.
func (c *compiler) run(f *function, clauses []*policy.Clause, split bool) {
	end := f.newLabel()
	f.entries(c.entries(clauses), end, known{}, split)
	f.label(end)
}

func (c *compiler) begin(name string) *function {
	f := &function{compiler: c, name: name, referenced: map[string]bool{}}
	f.begin()
	return f
}

func (c *compiler) end(f *function) {
	if f.err != nil && c.err == nil {
		c.err = f.err
	}
	c.functions = append(c.functions, Function{f.name, f.code})
}

func listCost(l *policy.List) int {
	cost := 0
	for clause := range l.All {
		cost += clauseCost(clause)
	}
	return cost
}

// The jumps of a look-up in a set and of counting connections, at most.
const (
	setCost   = 18
	limitCost = 4
)

func clauseCost(c *policy.Clause) int {
	cost := 1
	if c.ConnLimit != nil {
		cost += limitCost
	}
	for i := range c.Conditions {
		cost += conditionCost(&c.Conditions[i])
	}
	if c.IPSet != nil {
		cost += setCost
	}
	return cost
}

func conditionCost(c *policy.Condition) int { return 1 + 3*len(c.Terms) }

// checkSize refuses what the kernel would refuse less clearly.
func checkSize(functions []Function, p *policy.Policy, d policy.Direction) error {
	n := 0
	for _, f := range functions {
		n += len(f.Instructions)
	}
	if n <= maxInstructions && len(functions) <= maxFunctions {
		return nil
	}
	clauses := 0
	for _, l := range []*policy.List{p.Link[d], p.Network[d]} {
		for range l.All {
			clauses++
		}
	}
	return fmt.Errorf("filter %q is too large: its rules and lists multiply to %d clauses for packets %s, %d instructions in %d functions; the kernel verifies at most %d in %d: use fewer rules, or address ranges and masks in place of single addresses",
		p.Filter, clauses, directionName[d], n, len(functions), maxInstructions, maxFunctions)
}

var directionName = map[policy.Direction]string{policy.In: "to the guest", policy.Out: "from the guest"}

// Unsupported names what a policy asks for and no engine enforces yet; empty
// if there is nothing.
func Unsupported(p *policy.Policy) []string {
	var missing []string
	for _, c := range p.Clauses {
		what := ""
		switch {
		case c.ConnLimit != nil && c.ConnLimit.Above > policy.MaxConnLimit:
			what = fmt.Sprintf("connlimit-above=\"%d\" is more than can be counted; at most %d", c.ConnLimit.Above, policy.MaxConnLimit)
		default:
			continue
		}
		line := fmt.Sprintf("%s: <%s> %s", c.Origin, c.Rule.Protocol.Name, what)
		if !strings.Contains(strings.Join(missing, "\n"), line) {
			missing = append(missing, line)
		}
	}
	return missing
}
