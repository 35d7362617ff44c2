package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tapgate/client"
	"tapgate/nwfilter"
)

// raw sends bytes to a socket and reads the answer.
func raw(t *testing.T, socket, text string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A server that has seen enough does not read the rest.
	go func() { _, _ = io.WriteString(conn, text) }()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	return response.StatusCode, string(answer)
}

// posting is a request with a JSON body.
func posting(line, body string) string {
	return fmt.Sprintf("%s HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", line, len(body), body)
}

func asking(line string) string { return line + " HTTP/1.1\r\nHost: t\r\n\r\n" }

func TestMalformedRequests(t *testing.T) {
	f := &fakeService{}
	socket := serve(t, f, Limits{})
	deep := strings.Repeat("[", 100_000)
	for name, test := range map[string]struct {
		request string
		status  int
		says    string // the sentence, or a part of it
	}{
		"no JSON":            {posting("POST /v1/filters", "<filter/>"), 400, "the body cannot be understood: it is no JSON at byte 1: "},
		"no body":            {posting("POST /v1/filters", ""), 400, "the body cannot be understood: there is none"},
		"half a body":        {posting("POST /v1/filters", `{"source":"`), 400, "the body cannot be understood: its JSON ends early"},
		"a field too many":   {posting("POST /v1/filters", `{"source":"x","sauce":"y"}`), 400, `the body cannot be understood: there is no field "sauce"`},
		"a wrong type":       {posting("POST /v1/filters", `{"source":["x"]}`), 400, `the body cannot be understood: "source" is a array: expected a string`},
		"another wrong type": {posting("POST /v1/filters", `[1]`), 400, "the body cannot be understood: it is a array: expected an object"},
		"trailing data":      {posting("POST /v1/filters", `{"source":"x"}{}`), 400, "the body goes on behind its JSON"},
		"a NUL":              {posting("POST /v1/filters", "{\"source\":\"a\x00b\"}"), 400, "it is no JSON at byte"},
		"not UTF-8":          {posting("POST /v1/filters", "{\"source\":\"\xff\"}"), 400, "the body is not UTF-8"},
		"deep nesting":       {posting("PATCH /v1/settings", `{"assignments":`+deep[:40_000]), 400, "the body cannot be understood: it is no JSON at byte"},
		"deep unknown":       {posting("POST /v1/filters", `{"x":`+deep), 400, "the body cannot be understood: "},
		"a long document": {posting("POST /v1/filters", `{"source":"`+strings.Repeat("x", nwfilter.MaxDocument+1)+`"}`), 400,
			"the document has 4194305 bytes: at most 4194304 are read"},
		"a longer document": {posting("POST /v1/filters", `{"source":"`+strings.Repeat("x", 10<<20)+`"}`), 413, "the body is longer than the 8454144 bytes that are possible here"},
		"long settings":     {posting("PATCH /v1/settings", strings.Repeat(" ", 65537)), 413, "the body is longer than the 65536 bytes that are possible here"},
		"another type": {"POST /v1/filters HTTP/1.1\r\nHost: t\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n<filter/>", 415,
			`the body is of the type "text/xml": expected application/json`},
		"a body for nothing":   {posting("GET /v1/status", "{}"), 400, `GET "/v1/status" takes no body`},
		"an unknown path":      {asking("GET /v1/nothing"), 404, `there is nothing at "/v1/nothing"; /v1/openapi.yaml describes what there is`},
		"no path":              {asking("GET /"), 404, `there is nothing at "/"`},
		"a nameless filter":    {asking("GET /v1/filters/"), 404, `there is nothing at "/v1/filters/"`},
		"a path that climbs":   {asking("GET /v1/filters/../status"), 404, `there is nothing at "/v1/filters/../status"`},
		"slashes":              {asking("GET //v1//status"), 404, `there is nothing at "//v1//status"`},
		"another method":       {asking("PUT /v1/status"), 405, `PUT is no method of "/v1/status": expected GET or HEAD`},
		"no such method":       {asking("BREW /v1/filters"), 405, `BREW is no method of "/v1/filters": expected GET or HEAD or POST`},
		"an unknown parameter": {asking("GET /v1/filters/web?version=3"), 400, `GET "/v1/filters/web" has no parameter "version": expected revision`},
		"a parameter":          {asking("GET /v1/status?x=1"), 400, `GET "/v1/status" has no parameter "x": it has none`},
		"a bad escape":         {asking("GET /v1/filters/web?revision=%zz"), 400, `the parameters "revision=%zz" cannot be read: "%zz" is no escape`},
		"twice":                {asking("GET /v1/filters/web?revision=a&revision=b"), 400, "revision is given several times"},
		"not yes, not no":      {posting("POST /v1/filters?dry_run=maybe", `{"source":"x"}`), 400, `dry_run="maybe": expected true or false`},
		"no number":            {asking("GET /v1/watch?rate=many"), 400, `rate="many": expected a number from 1 to 1000000`},
		"nothing to watch":     {asking("GET /v1/watch?drops=false"), 400, "drops=false without passes=true leaves nothing to watch"},
		"a port beyond":        {asking("GET /v1/ports/vnet0/connections?port=70000"), 400, `port="70000": expected a number from 1 to 65535`},
		"a name in no text":    {asking("GET /v1/filters/%ff"), 400, `"\xff" is no name of a filter: it is not UTF-8`},
		"no MAC":               {posting("PUT /v1/bindings/vnet0", `{"mac":"x","filter":"web"}`), 400, `mac "x" is no MAC address: expected six groups such as 52:54:00:00:00:01`},
		"a multicast MAC":      {posting("PUT /v1/bindings/vnet0", `{"mac":"01:00:5e:00:00:01","filter":"web"}`), 400, "is a multicast address, which no guest can have"},
		"no filter":            {posting("PUT /v1/bindings/vnet0", `{"mac":"52:54:00:00:00:01"}`), 400, "which filter?"},
		"two ports":            {posting("PUT /v1/bindings/vnet0", `{"port":"vnet1","mac":"52:54:00:00:00:01","filter":"web"}`), 400, `the path names the port "vnet0" and the body "vnet1"`},
		"no setting": {posting("PUT /v1/bindings/vnet0", `{"mac":"52:54:00:00:00:01","filter":"web","parameters":[{"name":"CTRL_X","value":"1"}]}`), 400,
			`there is no setting "CTRL_X"`},
		"nothing to set":     {posting("PATCH /v1/settings", `{}`), 400, `nothing is set: "assignments" is empty`},
		"an odd setting":     {posting("PATCH /v1/settings", `{"assignments":[{"name":"timeout_udp","values":["x"]}]}`), 400, "CTRL_TIMEOUT_UDP cannot be"},
		"no time":            {posting("POST /v1/ports/vnet0/leases", `{"address":"10.0.0.5","end":"soon"}`), 400, `the body cannot be understood: "soon" is no time: expected one such as "2026-05-04T10:00:00Z"`},
		"a number as time":   {posting("POST /v1/ports/vnet0/leases", `{"address":"10.0.0.5","end":7}`), 400, `the body cannot be understood: a time is no string: expected one such as "2026-05-04T10:00:00Z"`},
		"no address":         {posting("POST /v1/ports/vnet0/leases", `{}`), 400, `"" is no address of a guest: expected one such as 10.0.0.5 or 2001:db8::5`},
		"a network":          {posting("POST /v1/ports/vnet0/leases", `{"address":"10.0.0.0/24"}`), 400, `10.0.0.0/24 is a network: of IPv4, a guest has single addresses`},
		"a broadcast":        {posting("POST /v1/ports/vnet0/leases", `{"address":"255.255.255.255"}`), 400, `255.255.255.255 cannot be a guest's: 240.0.0.0/4 are reserved addresses`},
		"a path to no lease": {asking("DELETE /v1/ports/vnet0/leases/nothing"), 400, `"nothing" is no address of a guest`},
		"nothing to pin":     {posting("PATCH /v1/ports/vnet0/leases/10.0.0.5", `{}`), 400, `nothing is changed: "pinned" is not there`},
		"a pin of a kind":    {posting("PATCH /v1/ports/vnet0/leases/10.0.0.5", `{"pinned":"yes"}`), 400, `"pinned" is a string: expected`},
		"no HTTP":            {"\x16\x03\x01\x00\x00\r\n\r\n", 400, ""},
		"a flood of lines":   {"GET /v1/status HTTP/1.1\r\nHost: t\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n", 431, ""},
		"a long line":        {"GET /v1/status?" + strings.Repeat("x", 200_000) + " HTTP/1.1\r\nHost: t\r\n\r\n", 431, ""},
	} {
		status, body := raw(t, socket, test.request)
		if status != test.status {
			t.Errorf("%s: status %d, want %d: %s", name, status, test.status, body)
		}
		if test.says == "" {
			continue
		}
		var failed failed
		if err := json.Unmarshal([]byte(body), &failed); err != nil || failed.Error == nil {
			t.Errorf("%s: %v: %s", name, err, body)
			continue
		}
		if !strings.Contains(failed.Error.Message, test.says) {
			t.Errorf("%s: says %q, want %q", name, failed.Error.Message, test.says)
		}
	}
	if asked := f.took(); len(asked) > 0 {
		t.Errorf("the service was asked %q", asked)
	}
	if _, err := client.New(socket).Status(t.Context()); err != nil {
		t.Errorf("the server is not what it was: %v", err)
	}
}

func TestSlowBody(t *testing.T) {
	f := &fakeService{}
	socket := serve(t, f, Limits{Body: 20 * time.Millisecond})
	status, body := raw(t, socket, "POST /v1/filters HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if status != 400 || !strings.Contains(body, "the body did not come in time") {
		t.Errorf("status %d: %s", status, body)
	}
	// What has come in time is worked on for as long as that takes.
	f.hold, f.entered = make(chan struct{}), make(chan struct{})
	go func() {
		<-f.entered
		time.Sleep(50 * time.Millisecond)
		close(f.hold)
	}()
	if _, err := client.New(socket).Status(t.Context()); err != nil {
		t.Error(err)
	}
}
