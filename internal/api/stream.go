package api

import (
	"bufio"
	"encoding/json"
	"iter"
	"net/http"
	"time"
)

// stream is an answer of many values, a line each, as they come.
type stream struct {
	// each calls yield until it returns false.
	each func(yield func(value any, err error) bool)
	// live values are sent at once and may be far apart. Others are sent when
	// there is a packet full of them, and whoever does not read them is given up.
	live bool
}

// streamOf makes a stream of those values that are wanted.
func streamOf[T any](all iter.Seq2[T, error], wanted func(T) bool) *stream {
	return &stream{each: func(yield func(any, error) bool) {
		for one, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			if wanted(one) && !yield(one, nil) {
				return
			}
		}
	}}
}

// patience is how long nothing of an answer may be read.
const patience = time.Minute

// write sends the values. A failure before the first is an answer of its own, a
// later one is the last line.
func (s *stream) write(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	lines := bufio.NewWriterSize(w, 32<<10)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
		}
	}
	s.each(func(value any, err error) bool {
		if err != nil && !begun {
			begun = true
			writeFailure(w, failureOf(err))
			return false
		}
		begin()
		if err != nil {
			_ = writeLine(lines, failed{failureOf(err)})
			return false
		}
		if !s.live && lines.Available() < 4<<10 {
			_ = control.SetWriteDeadline(time.Now().Add(patience))
		}
		if err := writeLine(lines, value); err != nil {
			return false
		}
		return !s.live || lines.Flush() == nil && control.Flush() == nil
	})
	begin()
	_ = lines.Flush()
}

// writeLine writes a value's JSON, which has no line feed in it. What makes its own is
// not read through again.
func writeLine(w *bufio.Writer, value any) error {
	var text []byte
	var err error
	if own, ok := value.(json.Marshaler); ok {
		text, err = own.MarshalJSON()
	} else {
		text, err = json.Marshal(value)
	}
	if err != nil {
		return err
	}
	_, _ = w.Write(text)
	return w.WriteByte('\n')
}
