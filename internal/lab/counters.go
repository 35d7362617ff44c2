package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// SYNRetransmissions counts the SYN and SYN/ACK segments that the namespace had to send again: 0 as
// long as the first packet of every connection got through.
func (ns *Namespace) SYNRetransmissions() (uint64, error) {
	counters, err := ns.Counters()
	return counters["TcpExt.TCPSynRetrans"], err
}

// Counters reads the protocol counters of the namespace, such as "Tcp.RetransSegs" and
// "TcpExt.TCPSynRetrans" (/proc/net/snmp and /proc/net/netstat).
func (ns *Namespace) Counters() (map[string]uint64, error) {
	counters := map[string]uint64{}
	err := ns.Do(func() error {
		for _, file := range []string{"snmp", "netstat"} {
			// /proc/net is the main thread's.
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			if err := addCounters(counters, string(text)); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read counters of namespace %s: %w", ns.name, err)
	}
	return counters, nil
}

// addCounters reads pairs of lines, "Group: name name …" and "Group: value value …".
func addCounters(counters map[string]uint64, text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) != len(values) || len(names) == 0 || names[0] != values[0] {
			return fmt.Errorf("lines %d and %d do not belong together", i+1, i+2)
		}
		group := strings.TrimSuffix(names[0], ":")
		for j := 1; j < len(names); j++ {
			// Some values are negative (Tcp.MaxConn is -1); they count nothing.
			if value, err := strconv.ParseUint(values[j], 10, 64); err == nil {
				counters[group+"."+names[j]] = value
			}
		}
	}
	return nil
}
