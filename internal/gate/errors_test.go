package gate

import (
	"errors"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestWhatAKernelCannotDo(t *testing.T) {
	for _, test := range []struct {
		step  step
		err   unix.Errno
		lacks string // of UnsupportedError; "" if it is none
		says  string
	}{
		{stepNone, unix.EPROTONOSUPPORT, "nftables for network devices", "CONFIG_NF_TABLES_NETDEV"},
		{stepNone, unix.EPERM, "", "needs root (CAP_NET_ADMIN)"},
		{stepReplace, unix.EPERM, "", "needs root (CAP_NET_ADMIN)"},
		{stepReplace, unix.EAFNOSUPPORT, "nftables for network devices", "CONFIG_NF_TABLES_NETDEV"},
		{stepReplace, unix.EINVAL, "destruction of what may not be there", "Linux 6.17"},
		{stepTable, unix.EOPNOTSUPP, "tables that outlive their owner", "Linux 6.9"},
		{stepIngress, unix.EINVAL, "hooks on the beginning of devices' names", "Linux 6.17"},
		{stepIngress, unix.EOPNOTSUPP, "nftables at the ingress of network devices", "CONFIG_NETFILTER_INGRESS"},
		{stepEgress, unix.EOPNOTSUPP, "nftables at the egress of network devices", "CONFIG_NETFILTER_EGRESS"},
		{stepIngress, unix.ENOMEM, "", "cannot allocate memory"},
		{stepOther, unix.ENFILE, "", "a gate admits 32768 devices at most"},
		{stepOther, unix.EINVAL, "", "invalid argument"},
	} {
		err := explain(&stepError{test.step, "", test.err})
		var unsupported *UnsupportedError
		if is := errors.As(err, &unsupported); is != (test.lacks != "") || is && unsupported.Lacks != test.lacks {
			t.Errorf("step %d, %v: %v", test.step, test.err, err)
		}
		if !strings.Contains(err.Error(), test.says) || !errors.Is(err, test.err) {
			t.Errorf("step %d, %v: %v, want %q", test.step, test.err, err, test.says)
		}
	}
}

// A kernel that does not know NFTA_DEVICE_PREFIX answers as this one does to the attribute after it.
func TestKernelWithoutPrefixes(t *testing.T) {
	h := newHost(t)
	h.open(Options{Patterns: []string{"vnet*"}}).Close(true)
	var err error
	if doErr := h.ns.Do(func() error {
		s, dialErr := dial()
		if dialErr != nil {
			return dialErr
		}
		defer s.close()
		messages := append([]message{removal()}, construction([]pattern{{"vnet", true}}, []int{1}, Shutouts{})...)
		for i := range messages {
			if messages[i].step != stepIngress {
				continue
			}
			messages[i].fill = func(e *netlink.AttributeEncoder) {
				e.String(unix.NFTA_CHAIN_TABLE, tableName)
				e.String(unix.NFTA_CHAIN_NAME, "ingress")
				e.String(unix.NFTA_CHAIN_TYPE, "filter")
				e.Nested(unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) error {
					e.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_NETDEV_INGRESS)
					e.Uint32(unix.NFTA_HOOK_PRIORITY, 0)
					e.Nested(attrHookDevs, func(e *netlink.AttributeEncoder) error {
						e.String(attrDevicePrefix+1, "vnet")
						return nil
					})
					return nil
				})
			}
		}
		err = s.refused(s.commit(messages...))
		// Nothing of the transaction was done, and its answers are not those of the next request.
		if _, ownerErr := s.owner(); !errors.Is(ownerErr, unix.ENOENT) {
			t.Errorf("after a transaction that failed there is a table: %v", ownerErr)
		}
		return nil
	}); doErr != nil {
		t.Fatal(doErr)
	}
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Needs != needsPrefix {
		t.Errorf("%v", err)
	}
	h.wantOpen(h.plug("vnet0", 0))
}
