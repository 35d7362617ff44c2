// Package lab builds a throw-away network: a namespace with a bridge and the host side of every
// port, one namespace for each guest, real servers in them, and probes that tell whether a packet
// or a protocol exchange gets through. `tapgate demo` and the live tests stand on it.
//
//	 host namespace                 guest namespace            neighbour namespace
//	┌──────────────────────┐      ┌──────────────────┐       ┌──────────────────┐
//	│ br0 ── guest0 ───────┼──────┤ eth0  10.77.0.11 │       │ eth0  10.77.0.20 │
//	│  └──── neighbour0 ───┼──────┼──────────────────┼───────┤                  │
//	└──────────────────────┘      └──────────────────┘       └──────────────────┘
//
// The namespaces have no name and no mount: they live as long as the file descriptors (and
// sockets) of this process, so that even a killed process leaves nothing behind. Nothing is
// created or changed in the namespace that the process was started in.
//
// Where a namespace is no guest, because a boot, a kernel and a virtio card of its own are asked for, there
// are virtual machines (see AddVM); where a server or a client of the lab's own would only prove itself, there
// are those that others have written (see ServeDNSMasq, RunDHCPClient), and a MissingError without them.
//
// The package knows nothing of filters: whoever wants to test one attaches it to a port.
package lab
