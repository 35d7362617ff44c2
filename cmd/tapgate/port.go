package main

import (
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/settings"
	"tapgate/internal/verdict"
)

// portShown is a port for programs.
type portShown struct {
	datapath.Port
	In  totalsShown `json:"in"`
	Out totalsShown `json:"out"`
	// Settings that are not the default; "tapgate settings --port" shows all.
	Settings settings.Values `json:"settings,omitempty"`
}

type statsShown struct {
	portShown
	Clauses []datapath.ClauseStats `json:"clauses"`
	Refused uint64                 `json:"refused"`
	GivenUp uint64                 `json:"given_up"`
	Expired uint64                 `json:"expired"`
	Quota   uint32                 `json:"quota"`
	Table   datapath.TableUse      `json:"table"`
	// InAnswers and OutAnswers are those to rejected packets of a direction.
	InAnswers  datapath.Answers `json:"in_answers"`
	OutAnswers datapath.Answers `json:"out_answers"`
}

type totalsShown struct {
	Passed  datapath.Counter `json:"passed"`
	Dropped datapath.Counter `json:"dropped"`
	// DroppedFor counts dropped packets by reason.
	DroppedFor map[string]uint64 `json:"dropped_for,omitempty"`
	// InvalidFor counts packets of the state INVALID, passed or dropped, by cause.
	InvalidFor map[string]uint64 `json:"invalid_for,omitempty"`
}

func showPort(p *datapath.Port) portShown {
	return portShown{*p, showTotals(&p.In), showTotals(&p.Out), p.Settings.Set()}
}

func showTotals(t *datapath.Totals) totalsShown {
	shown := totalsShown{Passed: t.Passed, Dropped: t.Dropped, DroppedFor: map[string]uint64{}, InvalidFor: map[string]uint64{}}
	for reason, n := range t.Reasons {
		if n > 0 {
			shown.DroppedFor[verdict.Reason(reason).String()] = n
		}
	}
	for why, n := range t.Invalid {
		if n > 0 {
			shown.InvalidFor[packet.Invalid(why).String()] = n
		}
	}
	return shown
}
