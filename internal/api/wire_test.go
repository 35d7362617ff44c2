package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
)

// filler makes values of which nothing is left out, and no two parts are the same.
type filler struct{ n int }

func (f *filler) next() int {
	f.n++
	return f.n
}

func (f *filler) fill(v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(f.next()), 7e6).UTC()))
		return
	case reflect.TypeFor[netip.AddrPort]():
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(f.next())}), uint16(f.next()))))
		return
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(f.next())})))
		return
	case reflect.TypeFor[net.HardwareAddr]():
		v.Set(reflect.ValueOf(net.HardwareAddr{2, 0, 0, 0, 0, byte(f.next())}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.next()) * 1e6)
		if v.OverflowInt(int64(f.n) * 1e6) {
			v.SetInt(1)
		}
	case reflect.Uint8:
		v.SetUint(1) // names with more than a few numbers are rare
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.next()))
	case reflect.Float64:
		v.SetFloat(float64(f.next()) / 8)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); field.CanSet() {
				f.fill(field)
			}
		}
	default:
		panic(v.Type().String() + " cannot be filled")
	}
}

// What passes over the wire is the same at both ends: a part that one end has and the
// other has not is lost, or refused.
func TestBothEndsSpeakOfTheSame(t *testing.T) {
	for _, pair := range []struct{ sent, got any }{
		{agent.Document{}, client.Document{}},
		{agent.FilterInfo{}, client.FilterInfo{}},
		{agent.Filter{}, client.Filter{}},
		{agent.FilterChange{}, client.FilterChange{}},
		{agent.PortChange{}, client.PortChange{}},
		{store.Revision{}, client.Revision{}},
		{agent.Port{}, client.Port{}},
		{agent.Stats{}, client.Stats{}},
		{agent.Bound{}, client.Bound{}},
		{bindingJSON{}, client.Binding{}},
		{settings.Value{}, client.Setting{}},
		{agent.SettingsChange{}, client.SettingsChange{}},
		{assignmentJSON{}, client.Assignment{}},
		{leaseJSON{}, client.Lease{}},
		{leaseChangeJSON{}, client.LeaseChange{}},
		{agent.Status{}, client.Status{}},
		{historyEntry{}, client.Entry{}},
		{datapath.Connection{}, client.Connection{}},
		{datapath.Expectation{}, client.Expectation{}},
		{datapath.Notice{}, client.Notice{}},
		{datapath.SetChange{}, client.SetChange{}},
	} {
		for _, full := range []bool{true, false} {
			sent := reflect.New(reflect.TypeOf(pair.sent))
			if full {
				(&filler{}).fill(sent.Elem())
			}
			// There and back, for what is only sent by clients.
			there := passes(t, sent.Interface(), reflect.New(reflect.TypeOf(pair.got)).Interface())
			if there != nil && !isWords(pair.sent) {
				passes(t, there, reflect.New(reflect.TypeOf(pair.sent)).Interface())
			}
		}
	}
}

// isWords tells of types that are told in words, which nobody reads back.
func isWords(v any) bool {
	switch v.(type) {
	case datapath.Connection, datapath.Expectation, datapath.Notice:
		return true
	}
	return false
}

// passes sends a value to the other end, which must find all of it, and returns it.
func passes(t *testing.T, sent, got any) any {
	t.Helper()
	text, err := json.Marshal(sent)
	if err != nil {
		t.Fatalf("%T: %v", sent, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(got); err != nil {
		t.Errorf("%T → %T: %v", sent, got, err)
		return nil
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatalf("%T: %v", got, err)
	}
	if diff := cmp.Diff(decoded(t, text), decoded(t, again)); diff != "" {
		t.Errorf("%T → %T: %s", sent, got, diff)
	}
	return got
}

func decoded(t *testing.T, text []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
