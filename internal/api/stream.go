package api

import (
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
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
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
		if !s.live {
			_ = control.SetWriteDeadline(time.Now().Add(patience))
		}
		if err != nil {
			_ = encoder.Encode(failed{failureOf(err)})
			return false
		}
		if err := encoder.Encode(value); err != nil {
			return false
		}
		return !s.live || control.Flush() == nil
	})
	begin()
}
