package api

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tapgate/internal/store"
)

// Whatever is asked, the program goes on, and says in JSON what is wrong.
func FuzzRequest(f *testing.F) {
	for _, r := range routes {
		f.Add(strings.NewReplacer("{filter}", "web", "{port}", "vnet0", "{address}", "10.0.0.5").Replace(r.pattern), "")
	}
	f.Add("POST /v1/filters?dry_run=true", `{"source":"<filter name='x'/>","lenient":true}`)
	f.Add("PUT /v1/bindings/%2e%2e", `{"mac":"52:54:00:00:00:01","filter":"f","parameters":[{"name":"IP","value":"x","position":{"line":3}}],"owner":{}}`)
	f.Add("PATCH /v1/ports/a%2Fb/settings", `{"assignments":[{"name":"timeout_udp","values":["60"]}]}`)
	f.Add("POST /v1/ports/vnet0/leases", `{"address":"2001:db8:1::/56","end":"2026-05-04T10:00:00Z"}`)
	f.Add("PATCH /v1/ports/vnet0/leases/2001:db8:1::%2F56", `{"pinned":true}`)
	f.Add("GET /v1/watch?port=a&port=b&rate=7&passes=true", "")
	f.Add("DELETE /v1/ports/x/connections?address=10.0.0.0/8&port=1&state=new&proto=tcp&direction=in", "")
	service := &fakeService{connections: nil, streamErr: store.ErrNotFound, err: store.ErrNotFound}
	h := Handler(service, nil)
	f.Fuzz(func(t *testing.T, line, body string) {
		if strings.ContainsAny(line, "\r\n") {
			return // no request that a server would ever see
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(posting(line, body))))
		if err != nil {
			return // no request that a server would ever see
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(WithActor(t.Context(), store.ThisProcess)))
		service.took()
		var told failed
		if w.Code >= 400 && (json.Unmarshal(w.Body.Bytes(), &told) != nil || told.Error == nil || told.Error.Message == "" || statuses[told.Error.Code] != w.Code) {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if w.Code >= 300 && w.Code < 400 {
			t.Errorf("status %d: %s", w.Code, w.Header().Get("Location"))
		}
	})
}
