package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"tapgate/client"
)

// description is as much of the OpenAPI document as is held against the program.
type description struct {
	Paths      map[string]map[string]any `yaml:"paths"`
	Components struct {
		Parameters map[string]map[string]any `yaml:"parameters"`
		Responses  map[string]any            `yaml:"responses"`
		Schemas    map[string]schema         `yaml:"schemas"`
	} `yaml:"components"`
}

type schema struct {
	Enum       []string       `yaml:"enum"`
	Required   []string       `yaml:"required"`
	Properties map[string]any `yaml:"properties"`
	Example    any            `yaml:"example"`
}

func readDescription(t *testing.T) (d description) {
	t.Helper()
	if err := yaml.Unmarshal(client.OpenAPI(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryRouteIsDescribed(t *testing.T) {
	var described, routed []string
	for path, methods := range readDescription(t).Paths {
		for method := range methods {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, r := range routes {
		routed = append(routed, r.pattern)
	}
	slices.Sort(described)
	slices.Sort(routed)
	if diff := cmp.Diff(routed, described); diff != "" {
		t.Errorf("routes, and what is described: %s", diff)
	}
}

// Each parameter that is described is taken, and no other.
func TestEveryParameterIsDescribed(t *testing.T) {
	d := readDescription(t)
	f := &fakeService{}
	h := Handler(f, nil)
	for path, methods := range d.Paths {
		for method, operation := range methods {
			if method == "parameters" {
				continue
			}
			var names []string
			for _, from := range []any{methods["parameters"], operation.(map[string]any)["parameters"]} {
				list, _ := from.([]any)
				for _, one := range list {
					p := one.(map[string]any)
					if ref, ok := p["$ref"].(string); ok {
						p = d.Components.Parameters[strings.TrimPrefix(ref, "#/components/parameters/")]
					}
					if p["in"] == "query" {
						names = append(names, p["name"].(string))
					}
				}
			}
			target := strings.NewReplacer("{filter}", "web", "{port}", "vnet0", "{address}", "10.0.0.5").Replace(path)
			request := httptest.NewRequest(strings.ToUpper(method), target+"?unknown=1", nil)
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, request)
			var refused failed
			if err := json.Unmarshal(answer.Body.Bytes(), &refused); err != nil {
				t.Fatalf("%s %s: %v: %s", method, path, err, answer.Body)
			}
			_, expected, _ := strings.Cut(refused.Error.Message, `has no parameter "unknown": `)
			taken := strings.Split(strings.TrimPrefix(expected, "expected "), ", ")
			if expected == "it has none" {
				taken = nil
			}
			slices.Sort(taken)
			slices.Sort(names)
			if !slices.Equal(taken, names) {
				t.Errorf("%s %s takes %q, and %q are described: %s", method, path, taken, names, refused.Error.Message)
			}
		}
	}
}

// bodies are the types of package client by the schema that describes them.
var bodies = map[string]any{
	"Status": client.Status{}, "DaemonStatus": client.DaemonStatus{},
	"Document": client.Document{}, "FilterInfo": client.FilterInfo{}, "FilterList": client.FilterList{}, "Filter": client.Filter{},
	"FilterChange": client.FilterChange{}, "PortChange": client.PortChange{}, "Revision": client.Revision{},
	"Binding": client.Binding{}, "Parameter": client.Parameter{}, "Owner": client.Owner{}, "BindingList": client.BindingList{}, "Bound": client.Bound{},
	"Position": client.Position{}, "Origin": client.Origin{}, "Clause": client.Clause{}, "Counter": client.Counter{}, "Totals": client.Totals{},
	"SetState": client.SetState{}, "Port": client.Port{}, "PortList": client.PortList{}, "ClauseStats": client.ClauseStats{},
	"TableUse": client.TableUse{}, "Answers": client.Answers{}, "Stats": client.Stats{}, "SetChange": client.SetChange{},
	"Observed": client.Observed{}, "ObservedCounts": client.ObservedCounts{},
	"End": client.End{}, "ICMP": client.ICMP{}, "Control": client.Control{}, "Connection": client.Connection{}, "Expectation": client.Expectation{},
	"Notice": client.Notice{}, "Report": client.Report{}, "Hidden": client.Hidden{}, "Watched": client.Watched{},
	"Setting": client.Setting{}, "Assignment": client.Assignment{}, "SettingsChange": client.SettingsChange{},
	"Learning": client.Learning{}, "Lease": client.Lease{}, "LeaseList": client.LeaseList{}, "LeaseChange": client.LeaseChange{},
	"Version": client.Version{}, "Login": client.Login{}, "Actor": client.Actor{}, "Entry": client.Entry{}, "History": client.History{},
	"Error": client.Error{}, "Users": client.Users{}, "Diagnostic": client.Diagnostic{},
	// What has no type of its own in the package.
	"Failure": failed{}, "BindRequest": bindBody{}, "LeaseRequest": leaseBody{},
	"PinRequest": struct {
		Pinned bool `json:"pinned"`
	}{},
	"RevisionList": struct {
		Revisions []client.Revision `json:"revisions"`
	}{},
	"SettingList": struct {
		Settings []client.Setting `json:"settings"`
	}{},
	"SetRequest": struct {
		Assignments []client.Assignment `json:"assignments"`
	}{},
	"SetChangeList": struct {
		Changes []client.SetChange `json:"changes"`
		Error   *client.Error      `json:"error,omitempty"`
	}{},
	"Flushed": struct {
		Flushed int `json:"flushed"`
	}{},
}

// parts are the names in JSON of a type's parts, and those that are always there.
func parts(kind reflect.Type) (all, required []string) {
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported() && !field.Anonymous:
		case field.Anonymous && name == "":
			inner, always := parts(field.Type)
			all, required = append(all, inner...), append(required, always...)
		default:
			all = append(all, name)
			if !strings.Contains(options, "omit") {
				required = append(required, name)
			}
		}
	}
	return all, required
}

func TestEveryTypeIsDescribed(t *testing.T) {
	schemas := readDescription(t).Components.Schemas
	for name, s := range schemas {
		if s.Enum != nil {
			continue
		}
		body, ok := bodies[name]
		if !ok {
			t.Errorf("%s is described, and there is no such type", name)
			continue
		}
		all, required := parts(reflect.TypeOf(body))
		described := slices.Sorted(maps.Keys(s.Properties))
		slices.Sort(all)
		slices.Sort(required)
		slices.Sort(s.Required)
		if diff := cmp.Diff(all, described); diff != "" {
			t.Errorf("%s, and what is described: %s", name, diff)
		}
		if !slices.Equal(required, s.Required) {
			t.Errorf("of %s, %q are always there, and %q are described so", name, required, s.Required)
		}
		if s.Example != nil {
			fits(t, name, s.Example, body, required)
		}
	}
	for name := range bodies {
		if _, ok := schemas[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
}

// fits tells whether an example is of a type, and has what is always there.
func fits(t *testing.T, name string, example, body any, required []string) {
	t.Helper()
	text, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(reflect.New(reflect.TypeOf(body)).Interface()); err != nil {
		t.Errorf("the example of %s: %v", name, err)
	}
	for _, part := range required {
		if _, ok := example.(map[string]any)[part]; !ok {
			t.Errorf("the example of %s lacks %q", name, part)
		}
	}
}

func TestEveryCodeIsDescribed(t *testing.T) {
	d := readDescription(t)
	var codes []string
	text := d.Components.Responses["Failure"].(map[string]any)["description"].(string)
	for code, status := range statuses {
		codes = append(codes, string(code))
		if row := fmt.Sprintf("| %s | %d |", code, status); !strings.Contains(text, row) {
			t.Errorf("the table of codes lacks %q", row)
		}
	}
	slices.Sort(codes)
	described := d.Components.Schemas["Code"].Enum
	slices.Sort(described)
	if diff := cmp.Diff(codes, described); diff != "" {
		t.Errorf("codes, and what is described: %s", diff)
	}
	content := d.Components.Responses["Failure"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)
	for name, example := range content["examples"].(map[string]any) {
		fits(t, name, example.(map[string]any)["value"], failed{}, []string{"error"})
	}
}

// What is referred to is there.
func TestReferencesLeadSomewhere(t *testing.T) {
	var whole map[string]any
	if err := yaml.Unmarshal(client.OpenAPI(), &whole); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				var at any = whole
				for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					at = at.(map[string]any)[step]
				}
				if at == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(whole)
}

func TestServerSendsItsDescription(t *testing.T) {
	server := httptest.NewServer(Handler(&fakeService{}, nil))
	defer server.Close()
	answer, err := http.Get(server.URL + "/v1/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/yaml" || !bytes.Equal(text, client.OpenAPI()) {
		t.Errorf("status %d, %s, %d bytes, %v", answer.StatusCode, answer.Header.Get("Content-Type"), len(text), err)
	}
}
