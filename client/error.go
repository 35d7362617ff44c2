package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Code says which failure it is. Codes are errors, so that errors.Is tells whether
// a call failed with one.
type Code string

// The codes. Those of the second group never come from a daemon.
const (
	// ErrNotFound: there is no such filter, binding, revision.
	ErrNotFound Code = "not_found"
	// ErrInUse: a filter is in use; UsedBy says by whom.
	ErrInUse Code = "in_use"
	// ErrRefused: ports that use a filter cannot take its change; Ports says
	// which and why. Nothing was changed.
	ErrRefused Code = "refused"
	// ErrInvalid: what was asked for, or a document in it, cannot be understood.
	// Diagnostics say where a document is at fault.
	ErrInvalid Code = "invalid"
	// ErrNotGuarded: the port is not guarded.
	ErrNotGuarded Code = "not_guarded"
	// ErrNoDevice: there is no such network device.
	ErrNoDevice Code = "no_device"
	// ErrNeedsRoot: the daemon, or this process, lacks the rights.
	ErrNeedsRoot Code = "needs_root"
	// ErrUnsupported: the filter asks for what Tapgate cannot enforce.
	ErrUnsupported Code = "unsupported"
	// ErrTooLarge: the request is too long.
	ErrTooLarge Code = "too_large"
	// ErrUnknownPath, ErrMethod, ErrMediaType: it is no request of this API.
	ErrUnknownPath Code = "unknown_path"
	ErrMethod      Code = "method_not_allowed"
	ErrMediaType   Code = "unsupported_media_type"
	// ErrBusy: too many requests are at work; try again.
	ErrBusy Code = "busy"
	// ErrInternal is everything else, such as a full disk.
	ErrInternal Code = "internal"

	// ErrNotRunning: nobody listens at the socket.
	ErrNotRunning Code = "not_running"
	// ErrNoPermission: this user may not connect to the socket.
	ErrNoPermission Code = "no_permission"
	// ErrInterrupted: the context ended the call.
	ErrInterrupted Code = "interrupted"
)

// Error lets a code be asked for with errors.Is.
func (c Code) Error() string { return string(c) }

// Error is why a call failed.
type Error struct {
	Code Code `json:"code"`
	// Message are sentences for people, one a line.
	Message string `json:"message"`
	// Status is that of HTTP, 0 if there was no answer.
	Status int `json:"-"`
	// Ports that could not take a change (ErrRefused).
	Ports []PortChange `json:"ports,omitempty"`
	// UsedBy are the users of a filter (ErrInUse).
	UsedBy *Users `json:"used_by,omitempty"`
	// Diagnostics on a document (ErrInvalid).
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`

	cause error
}

// Users are who uses a filter.
type Users struct {
	// Filters reference it, Ports are bound to it.
	Filters []string `json:"filters,omitempty"`
	Ports   []string `json:"ports,omitempty"`
}

// Diagnostic is one thing to say about a document.
type Diagnostic struct {
	Position
	// Severity is "error" or "warning".
	Severity string `json:"severity"`
	// Element and Attribute are at fault, if any are.
	Element   string `json:"element,omitempty"`
	Attribute string `json:"attribute,omitempty"`
	Message   string `json:"message"`
	// Hint says what may have been meant.
	Hint string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Is tells whether the error has a Code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Unwrap is what is behind a failure on the way to the daemon.
func (e *Error) Unwrap() error { return e.cause }

// IsNotFound tells whether a call failed because there is no such thing.
func IsNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// longestError is more than any failure is told in.
const longestError = 8 << 20

// readError reads an answer that is none.
func readError(r *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(r.Body, longestError))
	if err := parseError(text); err != nil {
		err.Status = r.StatusCode
		return err
	}
	return &Error{Code: ErrInternal, Status: r.StatusCode, Message: fmt.Sprintf("the daemon refused the request: %s", r.Status)}
}

// parseError is nil if the text tells of no failure.
func parseError(text []byte) *Error {
	var failed struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(text, &failed) != nil {
		return nil
	}
	return failed.Error
}
