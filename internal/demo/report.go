package demo

import "time"

// Report is all that the demo found out.
type Report struct {
	Steps      []*Step `json:"steps"`
	Tried      int     `json:"tried"`
	AsExpected int     `json:"as_expected"`
	Times      Times   `json:"seconds"`
}

// OK tells whether everything went as expected.
func (r *Report) OK() bool { return r.Tried > 0 && r.Tried == r.AsExpected }

// Times tell where the time went, in seconds.
type Times struct {
	SetUp float64 `json:"set_up"`
	// Programs is for compiling, loading and attaching them.
	Programs float64 `json:"programs"`
	// Answers is for attempts that work, Silence for those that are blocked: they
	// wait for an answer that must not come.
	Answers float64 `json:"answers"`
	Silence float64 `json:"silence"`
	CleanUp float64 `json:"clean_up"`
	// Total is more than the sum, because counters are read between attempts.
	Total float64 `json:"total"`
}

func since(start time.Time) float64 { return time.Since(start).Seconds() }

// Step is a state of the port and what was tried in it.
type Step struct {
	Title string `json:"title"`
	// File of the filter in force, empty without one.
	File string `json:"file,omitempty"`
	// Mechanism by which the programs are attached.
	Mechanism string `json:"mechanism,omitempty"`
	// InForceAfter are the seconds that it took to guard the port.
	InForceAfter float64 `json:"in_force_after,omitempty"`
	Rows         []Row   `json:"rows"`
}

// Row is one attempt and what became of it.
type Row struct {
	// Direction as the guest sees it, of what is tried.
	Direction string  `json:"direction"`
	What      string  `json:"what"`
	Should    Outcome `json:"should"`
	Did       Outcome `json:"did"`
	OK        bool    `json:"ok"`
	// DecidedBy is empty for a port that is not guarded.
	DecidedBy []Decider `json:"decided_by,omitempty"`
	Note      string    `json:"note,omitempty"`
	// Error is what the client said of an attempt that was not to fail so.
	Error string `json:"error,omitempty"`
}

// Decider is a rule that decided packets of an attempt, or the reason why they
// met their fate without one.
type Decider struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Action string `json:"action,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Packets that the rule decided or that the reason was counted for.
	Packets uint64 `json:"packets"`
}

func (r *Report) add(step *Step) { r.Steps = append(r.Steps, step) }

// count adds a finished row.
func (r *Report) count(step *Step, row Row) {
	step.Rows = append(step.Rows, row)
	r.Tried++
	if row.OK {
		r.AsExpected++
	}
}

// asExpected counts a step's rows that are.
func (s *Step) asExpected() int {
	n := 0
	for _, row := range s.Rows {
		if row.OK {
			n++
		}
	}
	return n
}
