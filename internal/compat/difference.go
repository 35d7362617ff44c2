// Package compat names the differences of Tapgate from libvirt: what each
// does, why, and for which packets a verdict may differ because of it. A
// mismatch with a verdict recorded from libvirt is taken for known only where
// a difference explains it.
//
// The package knows no engine: it judges by a policy's lists and by what
// became of the packets so far.
package compat

// Difference is one decided deviation of verdicts.
type Difference struct {
	ID, Title string
	// Libvirt and Tapgate say what each does, Why the reason. COMPATIBILITY.md
	// has the same sentences.
	Libvirt, Tapgate, Why string

	// may tells whether the verdict of the last packet may differ because of
	// it; nil where no sequence of packets at one port can show it.
	may func(*History) bool
}

// Differences are all differences of verdicts.
func Differences() []Difference { return differences }

// Acceptance is one difference in what is accepted as a filter.
type Acceptance struct{ ID, Libvirt, Tapgate string }

// Acceptances are all differences of acceptance.
func Acceptances() []Acceptance { return acceptances }
