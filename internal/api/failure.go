package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/store"
	"tapgate/nwfilter"
)

// statuses are those of HTTP for the codes.
var statuses = map[client.Code]int{
	client.ErrNotFound:    http.StatusNotFound,
	client.ErrInUse:       http.StatusConflict,
	client.ErrRefused:     http.StatusUnprocessableEntity,
	client.ErrInvalid:     http.StatusBadRequest,
	client.ErrNotGuarded:  http.StatusNotFound,
	client.ErrNoDevice:    http.StatusNotFound,
	client.ErrNeedsRoot:   http.StatusForbidden,
	client.ErrUnsupported: http.StatusUnprocessableEntity,
	client.ErrTooLarge:    http.StatusRequestEntityTooLarge,
	client.ErrUnknownPath: http.StatusNotFound,
	client.ErrMethod:      http.StatusMethodNotAllowed,
	client.ErrMediaType:   http.StatusUnsupportedMediaType,
	client.ErrBusy:        http.StatusServiceUnavailable,
	client.ErrInternal:    http.StatusInternalServerError,
}

// failureOf gives an error its code.
func failureOf(err error) *client.Error {
	failed := &client.Error{Code: client.ErrInternal, Message: err.Error()}
	var (
		own         *client.Error
		diagnostics nwfilter.Diagnostics
		inUse       *store.InUseError
		refused     *agent.RefusedError
		notGuarded  *datapath.NotGuardedError
		noDevice    *device.NotFoundError
		unsupported *datapath.UnsupportedError
		filter      *datapath.FilterError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		failed.Code = client.ErrRefused
		for _, p := range refused.Ports {
			failed.Ports = append(failed.Ports, client.PortChange{
				Port: p.Port, Result: client.PortResult(p.Result), Detail: p.Detail, Notes: p.Notes, Milliseconds: p.Milliseconds,
			})
		}
	case errors.As(err, &inUse):
		failed.Code, failed.UsedBy = client.ErrInUse, &client.Users{Filters: inUse.Filters, Ports: inUse.Ports}
	case errors.As(err, &diagnostics):
		failed.Code = client.ErrInvalid
		for _, d := range diagnostics {
			failed.Diagnostics = append(failed.Diagnostics, client.Diagnostic{
				Position: client.Position(d.Pos), Severity: d.Severity.String(), Element: d.Element, Attribute: d.Attribute, Message: d.Message, Hint: d.Hint,
			})
		}
	case errors.As(err, &notGuarded):
		failed.Code = client.ErrNotGuarded
	case errors.As(err, &noDevice):
		failed.Code = client.ErrNoDevice
	case errors.As(err, &unsupported):
		failed.Code = client.ErrUnsupported
	case errors.As(err, &filter), errors.Is(err, store.ErrInvalid):
		failed.Code = client.ErrInvalid
	case errors.Is(err, datapath.ErrNeedsRoot):
		failed.Code = client.ErrNeedsRoot
	case errors.Is(err, store.ErrNotFound):
		failed.Code = client.ErrNotFound
	}
	return failed
}

// failed is how an error is sent.
type failed struct {
	Error *client.Error `json:"error"`
}

func writeFailure(w http.ResponseWriter, err *client.Error) {
	writeJSON(w, statuses[err.Code], failed{err})
}

// writeJSON sends a value. What cannot be sent is nobody's loss but the client's,
// who is gone.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
}
