package demo

import "tapgate/internal/lab"

// Outcome is what becomes of an attempt.
type Outcome string

// The outcomes. The zero value stands for what is not tried.
const (
	// Works: the protocol was spoken to its end, or the frame arrived.
	Works Outcome = "works"
	// Blocked: nothing came back, or the frame did not arrive.
	Blocked Outcome = "blocked"
	// Refused: the guest itself said no.
	Refused Outcome = "refused"
	// Failed: anything else, which is never expected.
	Failed Outcome = "failed"
)

// outcomeOf tells what the error of a probe means.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Works
	case lab.Refused(err):
		return Refused
	case lab.NoAnswer(err):
		return Blocked
	}
	return Failed
}
