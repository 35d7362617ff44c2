package main

import (
	"strings"

	"tapgate/client"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// clauseShown is a clause as programs and people read it.
type clauseShown struct {
	ID         int           `json:"id"`
	Action     string        `json:"action"`
	Conditions []string      `json:"conditions"`
	Chain      string        `json:"chain,omitempty"`
	Priority   int           `json:"priority"`
	Mirrored   bool          `json:"mirrored,omitempty"`
	Comment    string        `json:"comment,omitempty"`
	Origin     policy.Origin `json:"origin"`
}

func showClause(c *policy.Clause) clauseShown {
	return clauseShown{
		ID: c.ID, Action: c.Action.String(), Conditions: conditionTexts(c.Conditions), Chain: c.Chain, Priority: c.Priority,
		Mirrored: c.Mirrored, Comment: c.Comment, Origin: c.Origin,
	}
}

func conditionTexts(list []policy.Condition) []string {
	texts := make([]string, len(list))
	for i, c := range list {
		texts[i] = c.String()
	}
	return texts
}

// clauseText is the action and the conditions, and the rule's comment.
func clauseText(c *policy.Clause) string {
	text := c.String()
	if text == c.Action.String() {
		text += " everything"
	}
	return text + commentText(c.Comment)
}

func commentText(comment string) string {
	if comment == "" {
		return ""
	}
	return " # " + comment
}

// originText says where a clause stands and by which references it came here.
func originText(o policy.Origin, mirrored bool) string {
	text := o.String()
	if mirrored {
		text += " mirrored"
	}
	if len(o.Path) > 1 {
		text += " (" + strings.Join(o.Path, " → ") + ")"
	}
	return text
}

// ruleOrigin is originText of a rule that a port enforces.
func ruleOrigin(c *client.Clause) string {
	o := policy.Origin{Filter: c.Origin.Filter, Pos: nwfilter.Position(c.Origin.Position), Path: c.Origin.Path}
	return originText(o, c.Mirrored)
}

// jumpText is the condition on which a chain is entered.
func jumpText(c *policy.Chain) string {
	if len(c.Conditions) == 0 {
		return "everything"
	}
	return strings.Join(conditionTexts(c.Conditions), " ")
}

func stageName(s nwfilter.Stage) string {
	if s == nwfilter.LinkStage {
		return "link"
	}
	return "network"
}

// stageOrder is the order in which a direction passes the stages.
func stageOrder(d policy.Direction) [2]nwfilter.Stage {
	if d == policy.Out {
		return [2]nwfilter.Stage{nwfilter.LinkStage, nwfilter.NetworkStage}
	}
	return [2]nwfilter.Stage{nwfilter.NetworkStage, nwfilter.LinkStage}
}
