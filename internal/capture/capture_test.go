package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func example(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := New(&file, "tapgate", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Packet{
		{Time: start, Port: "vnet1", Received: true, Frame: make([]byte, 60), Length: 1500, Comment: "drop: web.xml:3"},
		{Time: start.Add(time.Nanosecond), Port: "vnet0", Passed: true, Frame: make([]byte, 61), Length: 61, Comment: "pass: → a rule"},
		{Time: start.Add(time.Hour), Port: "", Frame: nil, Length: 0, Comment: strings.Repeat("x", 1<<17)},
	} {
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Hide("vnet1", 7), w.Close(start.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestCapturesAreReadBack(t *testing.T) {
	r, err := pcapgo.NewNgReader(bytes.NewReader(example(t)), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	type packet struct {
		Port, Comment    string
		Time             time.Time
		Captured, Length int
		Direction        pcapgo.NgEpbFlag
		Verdict          byte
	}
	var got []packet
	for {
		frame, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		port, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, packet{
			port.Name, options.Comments[0], info.Timestamp.UTC(), len(frame), info.Length, options.Flags.Direction, options.Verdicts[0].Data[0],
		})
	}
	want := []packet{
		{"vnet1", "drop: web.xml:3", start, 60, 1500, pcapgo.NgEpbFlagDirectionInbound, 2},
		{"vnet0", "pass: → a rule", start.Add(time.Nanosecond), 61, 61, pcapgo.NgEpbFlagDirectionOutbound, 255},
		{"", strings.Repeat("x", longestComment), start.Add(time.Hour), 0, 0, pcapgo.NgEpbFlagDirectionOutbound, 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if i, err := r.Interface(1); err != nil || i.Statistics.PacketsReceived != 8 || i.Statistics.PacketsDropped != 7 {
		t.Errorf("statistics %+v, %v", i.Statistics, err)
	}
}

// Wireshark is the reader that matters.
func TestWiresharkReadsCaptures(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("needs tshark, Wireshark on the command line, which is not installed; the capture is read back by a library in any case")
	}
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, example(t), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path, "-T", "json", "-c", "2",
		"-e", "frame.interface_name", "-e", "frame.comment", "-e", "frame.packet_flags_direction", "-e", "frame.verdict.ebpf_tc", "-e", "frame.len").Output()
	if err != nil {
		t.Fatal(err)
	}
	var packets []struct {
		Source struct{ Layers map[string][]string } `json:"_source"`
	}
	if err := json.Unmarshal(out, &packets); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []map[string][]string
	for _, p := range packets {
		got = append(got, p.Source.Layers)
	}
	want := []map[string][]string{
		{"frame.interface_name": {"vnet1"}, "frame.comment": {"drop: web.xml:3"}, "frame.packet_flags_direction": {"0x00000001"}, "frame.verdict.ebpf_tc": {"2"}, "frame.len": {"1500"}},
		{"frame.interface_name": {"vnet0"}, "frame.comment": {"pass: → a rule"}, "frame.packet_flags_direction": {"0x00000002"}, "frame.verdict.ebpf_tc": {"-1"}, "frame.len": {"61"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestAFullDiskIsTold(t *testing.T) {
	if _, err := New(&full{10}, "tapgate", start); err == nil {
		t.Error("a capture has no beginning, and nobody says so")
	}
	w, err := New(&full{200}, "tapgate", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Packet{Time: start, Port: "vnet0", Frame: make([]byte, 200), Length: 200}); err == nil {
		t.Error("a packet is not written, and nobody says so")
	}
}
