package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"tapgate/internal/eval"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// explanation is a packet's fate for programs.
type explanation struct {
	Direction string `json:"direction"`
	Packet    string `json:"packet"`
	Frame     string `json:"frame"`
	Verdict   string `json:"verdict"`
	Reason    string `json:"reason"`
	Answer    string `json:"answer,omitempty"`
	State     string `json:"state,omitempty"`
	// Invalid is why the state is INVALID.
	Invalid string        `json:"invalid,omitempty"`
	Rule    *clauseShown  `json:"rule,omitempty"`
	Trace   []stepExplain `json:"trace"`
	// Learned are the addresses that are known of the guest after the packet, where
	// they are learned: none yet, if it is empty.
	Learned []string `json:"learned,omitzero"`
}

type stepExplain struct {
	Stage   string       `json:"stage"`
	Rule    *clauseShown `json:"rule,omitempty"`
	Chain   string       `json:"chain,omitempty"`
	Matched bool         `json:"matched"`
	// Failed is the first condition that does not hold.
	Failed string `json:"failed,omitempty"`
	Note   string `json:"note,omitempty"`
}

func directionName(out bool) string {
	if out {
		return "out"
	}
	return "in"
}

func explainJSON(f *sentFrame, r *eval.Result, learned []string) explanation {
	e := explanation{
		Direction: directionName(f.out), Packet: f.text, Frame: hex.EncodeToString(f.data),
		Verdict: r.Verdict.String(), Reason: r.Reason.String(), State: stateText(&r.Packet), Trace: []stepExplain{}, Learned: learned,
	}
	if r.Verdict == verdict.Reject {
		e.Answer = r.Answer.String()
	}
	if r.Packet.Invalid != packet.NotInvalid {
		e.Invalid = r.Packet.Invalid.String()
	}
	if r.Clause != nil {
		c := showClause(r.Clause)
		e.Rule = &c
	}
	for _, step := range r.Trace {
		s := stepExplain{Stage: stageName(step.Stage), Matched: step.Matched, Note: step.Note}
		if step.Clause != nil {
			c := showClause(step.Clause)
			s.Rule = &c
		}
		if step.Chain != nil {
			s.Chain = step.Chain.Name
		}
		if step.Failed != nil {
			s.Failed = step.Failed.String()
		}
		if step.FailedSet != nil {
			s.Failed = step.FailedSet.String()
		}
		e.Trace = append(e.Trace, s)
	}
	return e
}

// stateText is the packet's place in its connection, "" if nobody looked.
func stateText(p *packet.Packet) string {
	text := p.State.Name()
	switch {
	case text == "":
		return ""
	case p.Direction == packet.Original:
		return text + ", original direction"
	case p.Direction == packet.Reply:
		return text + ", reply direction"
	}
	return text
}

func (t *tool) printExplanation(f *sentFrame, r *eval.Result) {
	fmt.Fprintf(t.stdout, "%s %s\n", directionName(f.out), f.text)
	if state := stateText(&r.Packet); state != "" {
		if why := r.Packet.Invalid; why != packet.NotInvalid {
			state += ": " + why.String()
		}
		fmt.Fprintf(t.stdout, "  connection: %s\n", state)
	}
	t.printTrace(r.Trace)
	fmt.Fprintf(t.stdout, "  %s\n", decisionText(r))
	if r.Verdict == verdict.Reject {
		fmt.Fprintf(t.stdout, "  answered with %s\n", r.Answer)
	}
}

// printLearned tells what is known of the guest.
func (t *tool) printLearned(l *eval.Learner) {
	known := addresses(l)
	if len(known) == 0 {
		fmt.Fprintln(t.stdout, "  no address of the guest is known")
		return
	}
	fmt.Fprintf(t.stdout, "  known of the guest: %s\n", strings.Join(known, ", "))
}

// The root of the link stage and the network stage, and a chain.
const (
	rootIndent  = "    "
	chainIndent = "      "
)

func (t *tool) printTrace(trace []eval.Step) {
	stage, indent, rows := "", rootIndent, &table{}
	move := func(to string) {
		rows.flush(t.stdout, indent)
		indent = to
	}
	for _, step := range trace {
		if now := stageName(step.Stage); now != stage {
			stage = now
			move(rootIndent)
			fmt.Fprintf(t.stdout, "  %s stage\n", stage)
		}
		switch {
		case step.Clause != nil:
			rows.add(stepRow(&step)...)
			if step.Matched && step.Clause.Action == nwfilter.Return {
				move(rootIndent)
			}
		case step.Note != "":
			move(rootIndent)
			fmt.Fprintln(t.stdout, rootIndent+step.Note)
		case step.Matched:
			move(chainIndent)
			fmt.Fprintf(t.stdout, "%senters chain %s (priority %d): %s\n", rootIndent, step.Chain.Name, step.Chain.Priority, jumpText(step.Chain))
		default:
			move(rootIndent)
			fmt.Fprintf(t.stdout, "%spasses by chain %s (priority %d): not %s\n", rootIndent, step.Chain.Name, step.Chain.Priority, jumpText(step.Chain))
		}
	}
	rows.flush(t.stdout, indent)
}

func stepRow(s *eval.Step) []string {
	mark, why := "*", s.Note
	if !s.Matched {
		mark = "-"
	}
	if s.Failed != nil {
		why = "not " + s.Failed.String()
	}
	if s.FailedSet != nil {
		why = "not " + s.FailedSet.String()
	}
	return []string{mark, strconv.Itoa(s.Clause.ID), clauseText(s.Clause), s.Clause.Origin.String(), why}
}

func decisionText(r *eval.Result) string {
	text := map[verdict.Verdict]string{verdict.Pass: "PASS", verdict.Drop: "DROP", verdict.Reject: "REJECT"}[r.Verdict] + ": "
	if r.Clause == nil {
		return text + r.Reason.String()
	}
	if r.Reason != verdict.Clause {
		text += r.Reason.String() + "; "
	}
	return text + fmt.Sprintf("rule %d, %s, of filter %s: %s", r.Clause.ID, r.Clause.Origin, r.Clause.Origin.Filter, clauseText(r.Clause))
}
