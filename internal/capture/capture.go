// Package capture writes packets as pcapng, with what was decided about each.
package capture

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Packet is what is written of one.
type Packet struct {
	Time time.Time
	// Port becomes the interface.
	Port string
	// Received tells whether the port's device received the packet, or else
	// transmitted it.
	Received bool
	Passed   bool
	// Frame holds the first bytes of Length.
	Frame  []byte
	Length int
	// Comment is for people.
	Comment string
}

// Writer writes a capture. Every port is an interface of its own, described
// when its first packet comes.
type Writer struct {
	ng    *pcapgo.NgWriter
	ports []port // as the interfaces are numbered
	start time.Time
}

type port struct {
	name            string
	written, hidden uint64
}

// longestComment is less than the 65,535 bytes that an option holds.
const longestComment = 1 << 15

// New begins a capture. The application is the program's name and version.
func New(w io.Writer, application string, start time.Time) (*Writer, error) {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: application}}
	ng, err := pcapgo.NewNgWriterInterface(w, ngInterface(""), options)
	if err != nil {
		return nil, err
	}
	return &Writer{ng: ng, ports: []port{{}}, start: start}, ng.Flush()
}

func ngInterface(name string) pcapgo.NgInterface {
	i := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
	if name == "" {
		i.Description = "ports whose name is not known"
	}
	return i
}

// port gives the number of a port's interface.
func (w *Writer) port(name string) (int, error) {
	for i := range w.ports {
		if w.ports[i].name == name {
			return i, nil
		}
	}
	w.ports = append(w.ports, port{name: name})
	return w.ng.AddInterface(ngInterface(name))
}

// What a program says to the kernel's traffic control (linux/pkt_cls.h).
const (
	tcUnspecified = -1
	tcShot        = 2
)

// Write adds a packet, and has it written when it returns, for whoever reads
// along.
func (w *Writer) Write(p *Packet) error {
	port, err := w.port(p.Port)
	if err != nil {
		return err
	}
	w.ports[port].written++
	direction := pcapgo.NgEpbFlagDirectionOutbound
	if p.Received {
		direction = pcapgo.NgEpbFlagDirectionInbound
	}
	verdict := int64(tcShot)
	if p.Passed {
		verdict = tcUnspecified
	}
	info := gopacket.CaptureInfo{
		Timestamp: p.Time, InterfaceIndex: port,
		CaptureLength: len(p.Frame), Length: max(p.Length, len(p.Frame)),
	}
	err = w.ng.WritePacketWithOptions(info, p.Frame, pcapgo.NgPacketOptions{
		Comments: []string{p.Comment[:min(len(p.Comment), longestComment)]},
		Flags:    &pcapgo.NgEpbFlags{Direction: direction},
		Verdicts: []pcapgo.NgEpbVerdict{{Type: pcapgo.NgEpbVerdictTypeLinuxeBPFTC, Data: binary.LittleEndian.AppendUint64(nil, uint64(verdict))}},
	})
	if err != nil {
		return err
	}
	return w.ng.Flush()
}

// Hide counts packets of a port that are not in the capture.
func (w *Writer) Hide(name string, packets uint64) error {
	port, err := w.port(name)
	if err != nil {
		return err
	}
	w.ports[port].hidden += packets
	return nil
}

// Close ends the capture with each port's counts; it does not close what it was
// written to.
func (w *Writer) Close(end time.Time) error {
	for i, port := range w.ports {
		if port.written+port.hidden == 0 {
			continue
		}
		err := w.ng.WriteInterfaceStats(i, pcapgo.NgInterfaceStatistics{
			LastUpdate: end, StartTime: w.start, EndTime: end,
			PacketsReceived: port.written + port.hidden, PacketsDropped: port.hidden,
		})
		if err != nil {
			return err
		}
	}
	return w.ng.Flush()
}
