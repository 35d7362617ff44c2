package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// failedLine is how the line begins that tells why a stream ended early.
var failedLine = []byte(`{"error":`)

// stream yields the lines of an answer as they come. Who ends the loop ends the
// call.
func stream[T any](ctx context.Context, c *Client, r request) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		response, err := c.send(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer response.Body.Close()
		lines := bufio.NewReader(response.Body)
		for {
			line, err := lines.ReadBytes('\n')
			if err == io.EOF && len(line) == 0 {
				return
			}
			if err != nil {
				yield(nil, c.failure(ctx, err))
				return
			}
			if bytes.HasPrefix(line, failedLine) {
				failed := parseError(line)
				if failed == nil {
					failed = &Error{Code: ErrInternal, Message: "the daemon failed, and its reason cannot be understood"}
				}
				yield(nil, failed)
				return
			}
			one := new(T)
			if err := json.Unmarshal(line, one); err != nil {
				yield(nil, &Error{Code: ErrInternal, Message: fmt.Sprintf("the daemon's answer cannot be understood: %v", err)})
				return
			}
			if !yield(one, nil) {
				return
			}
		}
	}
}

// untilInterrupted leaves out the error of an ended context.
func untilInterrupted[T any](all iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for one, err := range all {
			if errors.Is(err, ErrInterrupted) || !yield(one, err) {
				return
			}
		}
	}
}
