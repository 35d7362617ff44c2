package gate

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// UnsupportedError says that this kernel cannot hold a gate. Whoever gets it can only be quick.
type UnsupportedError struct {
	// Lacks is what is missing, and Needs the kernel that has it.
	Lacks, Needs string
	// Err is the kernel's answer.
	Err error
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the kernel cannot hold new devices shut: it has no %s, which needs %s: %v", e.Lacks, e.Needs, e.Err)
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// HeldError says that another process, which lives, holds the gate of this network namespace.
type HeldError struct {
	// Port is the netlink port of the holder's socket. The kernel gives the first socket of a
	// process the process's id.
	Port uint32
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("another process holds the gate of this network namespace (netlink port %d, most likely the process's id)", e.Port)
}

// ErrNoDevice is what Admit fails with for an index that no device has.
var ErrNoDevice = errors.New("no device has this index")

var errClosed = errors.New("the gate is closed")

// step is a message of a transaction, as far as the reasons go for which kernels refuse it.
type step int

const (
	// stepNone is no message of ours: the whole transaction was refused.
	stepNone step = iota
	stepReplace
	stepTable
	stepIngress
	stepEgress
	stepOther
)

// stepError is the kernel's answer to one message of a transaction.
type stepError struct {
	step step
	what string
	err  error
}

func (e *stepError) Error() string {
	if e.what == "" {
		return e.err.Error()
	}
	return e.what + ": " + e.err.Error()
}

func (e *stepError) Unwrap() error { return e.err }

const (
	needsPersist = "Linux 6.9"
	needsPrefix  = "Linux 6.17 (or a 6.16 that has \"netfilter: nf_tables: Introduce NFTA_DEVICE_PREFIX\")"
	needsTables  = "CONFIG_NF_TABLES and CONFIG_NF_TABLES_NETDEV"
	needsEgress  = "Linux 5.16 with CONFIG_NETFILTER_EGRESS"
)

// explain makes a kernel's refusal one of UnsupportedError where it means that. Nothing is probed
// before: a kernel that can do it pays nothing, and what a message means is best known where it fails.
func explain(err error) error {
	var failed *stepError
	if !errors.As(err, &failed) {
		return err
	}
	unsupported := func(lacks, needs string) error {
		return &UnsupportedError{Lacks: lacks, Needs: needs, Err: failed.err}
	}
	is := func(codes ...unix.Errno) bool {
		for _, code := range codes {
			if errors.Is(failed.err, code) {
				return true
			}
		}
		return false
	}
	switch failed.step {
	case stepNone, stepReplace:
		switch {
		case is(unix.EPERM):
			return fmt.Errorf("needs root (CAP_NET_ADMIN): %w", failed.err)
		case is(unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.ENOENT):
			return unsupported("nftables for network devices", needsTables)
		case is(unix.EINVAL):
			// NFT_MSG_DESTROYTABLE is of 6.3; what else it needs is later still.
			return unsupported("destruction of what may not be there", needsPrefix)
		}
	case stepTable:
		if is(unix.EOPNOTSUPP, unix.EINVAL, unix.ERANGE) {
			return unsupported("tables that outlive their owner", needsPersist)
		}
	case stepIngress:
		switch {
		// Anything but NFTA_DEVICE_NAME was -EINVAL. Its form without the NUL at the end, which 6.16
		// took for a prefix, is not tried: kernels before take it for a name, in silence.
		case is(unix.EINVAL):
			return unsupported("hooks on the beginning of devices' names", needsPrefix)
		case is(unix.EOPNOTSUPP, unix.ENOENT):
			return unsupported("nftables at the ingress of network devices", needsTables+" and CONFIG_NETFILTER_INGRESS")
		}
	case stepEgress:
		if is(unix.EOPNOTSUPP, unix.ENOENT, unix.EINVAL) {
			return unsupported("nftables at the egress of network devices", needsEgress)
		}
	case stepOther:
		if is(unix.ENFILE) {
			return fmt.Errorf("a gate admits %d devices at most: %w", MaxAdmitted, failed.err)
		}
	}
	return err
}
