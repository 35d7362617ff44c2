package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Operation is what was done.
type Operation string

// The operations. SetAsideOp is done by the store itself, to a document that it
// cannot read.
const (
	DefineOp   Operation = "define"
	RollbackOp Operation = "rollback"
	UndefineOp Operation = "undefine"
	BindOp     Operation = "bind"
	UnbindOp   Operation = "unbind"
	SetOp      Operation = "set"
	SetAsideOp Operation = "set aside"

	AddLeaseOp    Operation = "lease-add"
	PinLeaseOp    Operation = "lease-pin"
	UnpinLeaseOp  Operation = "lease-unpin"
	DeleteLeaseOp Operation = "lease-delete"
)

// Result is how a change ended.
type Result string

// The results.
const (
	Done   Result = "done"
	Failed Result = "failed"
	// Interrupted is what the program or the host crashed in the middle of. The
	// entry's detail says what is known.
	Interrupted Result = "interrupted"
)

// Version names one text of a document.
type Version struct {
	// Digest is the SHA-256 of the text as it is kept, in hexadecimal; empty if
	// there is no document.
	Digest string `json:"digest,omitempty"`
	// Summary is the text in a few words.
	Summary string `json:"summary,omitempty"`
	// Size is that of the text, in bytes.
	Size int `json:"size,omitempty"`
}

// Entry is a change of one document: what the journal says about it.
type Entry struct {
	// ID counts the changes from 1.
	ID        int64     `json:"id"`
	Time      time.Time `json:"time"`
	Operation Operation `json:"operation"`
	Kind      Kind      `json:"kind"`
	// Name is that of the document, but for leases that somebody changed: of
	// these it is the port, Document the name, and Address the lease's.
	Name     string  `json:"name"`
	Document string  `json:"document,omitempty"`
	Address  string  `json:"address,omitempty"`
	By       Actor   `json:"by"`
	Before   Version `json:"before,omitzero"`
	After    Version `json:"after,omitzero"`
	// Enforced is set if the change also took hold of ports.
	Enforced bool `json:"enforced,omitempty"`
	// Result is empty only in the line that is written before a change.
	Result Result `json:"result,omitempty"`
	// Detail is a sentence on the result, if there is something to say.
	Detail string `json:"detail,omitempty"`
}

// document is the name of the document that was changed.
func (e *Entry) document() string {
	if e.Document != "" {
		return e.Document
	}
	return e.Name
}

// journalForm is the form of the lines, which each of them carries. Lines of a
// later form are left out and reported.
const journalForm = 1

// begun is the line that is written before a change.
type begun struct {
	Form int `json:"form"`
	Entry
}

// ended is the line that is written after it.
type ended struct {
	Form   int       `json:"form"`
	ID     int64     `json:"id"`
	Time   time.Time `json:"time"`
	Result Result    `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

// A line ends with the checksum (CRC-32C) of all that stands in front of it.
const (
	checkStart  = `,"check":"`
	checkLength = len(checkStart) + 8 + len(`"}`)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeLine is a JSON object in one line, its line feed included.
func encodeLine(value any) []byte {
	line, err := json.Marshal(value)
	if err != nil {
		panic("store: " + err.Error()) // strings, numbers and times always encode
	}
	line = line[:len(line)-1]
	return fmt.Appendf(line, "%s%08x\"}\n", checkStart, crc32.Checksum(line, castagnoli))
}

var (
	errDamaged = errors.New("it is damaged")
	errNewer   = errors.New("a newer tapgate wrote it")
)

// decodeLine reads a line without its line feed: an entry without a result, or
// one with nothing else.
func decodeLine(line []byte) (e Entry, err error) {
	body := line[:max(0, len(line)-checkLength)]
	if !bytes.Equal(line[len(body):], fmt.Appendf(nil, "%s%08x\"}", checkStart, crc32.Checksum(body, castagnoli))) {
		return Entry{}, errDamaged
	}
	var read begun
	switch err := json.Unmarshal(line, &read); {
	case read.Form > journalForm:
		return Entry{}, errNewer
	case err != nil, read.Form < 1, read.ID < 1, (read.Operation == "") == (read.Result == ""):
		return Entry{}, errDamaged
	}
	return read.Entry, nil
}

// journal is what was read of one.
type journal struct {
	entries []Entry
	// faults tell of the lines that cannot be read or are not there.
	faults []error
	// last is the highest number of a change.
	last int64
}

// readJournal puts the lines of a journal together. A change whose end is not
// there has no result. A last line without its line feed never came to be.
func readJournal(text []byte) (j journal) {
	open := map[int64]int{}
	for number := 1; ; number++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return j
		}
		text = rest
		e, err := decodeLine(line)
		if err != nil {
			j.faults = append(j.faults, fmt.Errorf("line %d of the journal cannot be read: %w", number, err))
			continue
		}
		if j.last > 0 && e.ID > j.last+1 {
			j.faults = append(j.faults, fmt.Errorf("the journal lacks the changes %d to %d before line %d", j.last+1, e.ID-1, number))
		}
		j.last = max(j.last, e.ID)
		at, isOpen := open[e.ID]
		switch {
		case e.Operation != "":
			open[e.ID] = len(j.entries)
			j.entries = append(j.entries, e)
		case isOpen:
			j.entries[at].Result, j.entries[at].Detail = e.Result, e.Detail
			delete(open, e.ID)
		}
	}
}
