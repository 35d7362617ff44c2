package agent

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/internal/datapath"
	"tapgate/internal/lab"
	"tapgate/internal/learn"
	"tapgate/internal/store"
)

// guestMAC is that of a guest of the kit, by the length of the port's name.
func guestMAC(port string) net.HardwareAddr {
	return net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(len(port))}
}

var neighbourMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}

// learningKit is a daemon with a port that learns, in a mode.
func learningKit(t *testing.T, mode string) *kit {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("four", rule("<ip srcipaddr='$IP'/>")))
	k.host.add("vnet0")
	bound, err := k.bindTo("vnet0", "four", "CTRL_IP_LEARNING="+mode)
	if err != nil || bound.Learning == nil || !slices.Equal(bound.Learning.Waiting, []string{"IP"}) {
		t.Fatalf("bound %+v, %v", bound, err)
	}
	k.state("learning")
	return k
}

// state checks how vnet0 stands, and which addresses of its guest are in use.
func (k *kit) state(want string, addresses ...string) {
	k.Helper()
	ports, _, err := k.Ports(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	i := slices.IndexFunc(ports, func(p Port) bool { return p.Name == "vnet0" })
	if i < 0 {
		k.Fatalf("vnet0 is not listed among %v", ports)
	}
	if p := ports[i]; string(p.State) != want || !slices.Equal(p.Addresses, addresses) {
		k.Errorf("vnet0 is %s with %v, want %s with %v", p.State, p.Addresses, want, addresses)
	}
}

// sees is a frame that the port's program told of, and what the agent makes of it.
func (k *kit) sees(frame []byte, out, passed bool, at time.Time) {
	k.Helper()
	o := datapath.Observation{Time: at, Port: "vnet0", Out: out, Passed: passed, Frame: frame, Length: len(frame)}
	k.Agent.observed(k.Context(), k.host, &o)
	k.Agent.teach(k.Context(), k.host)
}

// claims is an ARP request of the guest, which its port dropped.
func (k *kit) claims(address string) {
	k.Helper()
	k.sees(claim(address), true, false, time.Now())
}

func claim(address string) []byte {
	mac := guestMAC("vnet0")
	return lab.ARPFrame(mac, lab.Broadcast, layers.ARPRequest, mac, netip.MustParseAddr(address), make([]byte, 6), netip.MustParseAddr("10.0.0.1"))
}

// injected are the frames that were put back.
func (k *kit) injected() int {
	n := 0
	for _, call := range k.host.calls {
		if strings.HasPrefix(call, "inject") {
			n++
		}
	}
	return n
}

func TestAnAddressIsLearnedAndTheFrameIsPutBack(t *testing.T) {
	k := learningKit(t, "any")
	k.claims("10.0.0.5")
	k.state("guarded", "10.0.0.5")
	if k.injected() != 1 {
		t.Errorf("calls %q, want the frame that taught put back", k.host.calls)
	}
	// Another address teaches nothing, and is not put back.
	k.claims("10.0.0.6")
	k.state("guarded", "10.0.0.5")
	if k.injected() != 1 {
		t.Errorf("a frame that taught nothing was put back: %q", k.host.calls)
	}
	k.quiet()
	k.has("vnet0", "vnet0 10.0.0.5 arp in use")
}

func TestAFrameThatTheFormerPolicyDroppedIsPutBackAtOnce(t *testing.T) {
	k := learningKit(t, "any")
	late := time.Now()
	k.claims("10.0.0.5")
	k.sees(claim("10.0.0.5"), true, false, late)
	if k.injected() != 2 {
		t.Errorf("%d frames were put back, want the one that came too late, too", k.injected())
	}
}

func TestFewFramesAreHeldForAMoment(t *testing.T) {
	k := learningKit(t, "dhcp")
	for range 3 * holdFrames {
		k.claims("10.0.0.5")
	}
	k.sees(claim("10.0.0.5"), true, false, time.Now().Add(-2*holdFor)) // too old by then
	k.state("learning")
	if _, err := k.AddLease(k.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.5")}); err != nil {
		t.Fatal(err)
	}
	k.Agent.teach(k.Context(), k.host)
	k.state("guarded", "10.0.0.5")
	k.claims("10.0.0.5")
	if n := k.injected(); n > holdFrames {
		t.Errorf("%d frames were put back", n)
	}
}

func TestWhatIsKnownOutlivesTheDaemon(t *testing.T) {
	k := learningKit(t, "any")
	k.claims("10.0.0.5")
	next := *k
	next.Agent = New(Options{
		Store: store.New(store.NewFiles(k.dir)), Open: func() (Datapath, error) { return k.host, nil },
		Devices: k.host.list, Daemon: &DaemonOptions{},
	})
	next.look(true)
	next.quiet()
	next.state("guarded", "10.0.0.5")
	// Nor does the device matter: the binding is for the same guest.
	k.host.remove("vnet0")
	next.look(false)
	k.host.add("vnet0")
	next.look(false)
	next.state("guarded", "10.0.0.5")
	if err := next.Unbind(t.Context(), alice, "vnet0"); err != nil {
		t.Fatal(err)
	}
	if _, err := next.bindTo("vnet0", "four"); err != nil {
		t.Fatal(err)
	}
	next.state("learning")
}

// exchange is a DHCP exchange that gives an address to the guest for a time.
func (k *kit) exchange(address string, lasts time.Duration) {
	k.Helper()
	request, ack := exchange(address, lasts)
	k.sees(request, true, true, time.Now())
	k.sees(ack, false, true, time.Now())
}

func exchange(address string, lasts time.Duration) (request, ack []byte) {
	mac, server, a := guestMAC("vnet0"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr(address)
	id := dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, a.As4()[3]})
	chosen := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice()))
	request = lab.DHCPRequest(mac, dhcpv4.MessageTypeRequest, id, chosen, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(a.AsSlice())))
	return request, lab.DHCPReply(neighbourMAC, server, mac, dhcpv4.MessageTypeAck, a, lasts, id, chosen)
}

func TestLeasesComeAndEnd(t *testing.T) {
	k := learningKit(t, "dhcp")
	k.claims("10.0.0.9") // teaches nothing in this mode
	k.state("learning")
	k.exchange("10.0.0.5", time.Minute)
	k.state("guarded", "10.0.0.5")
	if k.injected() != 1 {
		t.Errorf("%d frames were put back, want what the guest sent before", k.injected())
	}
	k.exchange("10.0.0.6", time.Hour)
	k.state("guarded", "10.0.0.5", "10.0.0.6")
	if next := k.learners.next(); time.Until(next) > time.Minute || time.Until(next) < 50*time.Second {
		t.Errorf("the next lease ends in %s", time.Until(next))
	}
	k.Agent.expireAt(time.Now().Add(2 * time.Minute))
	k.Agent.teach(t.Context(), k.host)
	k.state("guarded", "10.0.0.6")
	k.Agent.expireAt(time.Now().Add(2 * time.Hour))
	k.Agent.teach(t.Context(), k.host)
	k.state("learning")
	k.has("vnet0", "")
}

func TestAnOpenRequestOutlivesTheDaemon(t *testing.T) {
	k := learningKit(t, "dhcp")
	request, ack := exchange("10.0.0.5", time.Hour)
	k.sees(request, true, true, time.Now())
	next := *k
	next.Agent = New(Options{
		Store: store.New(store.NewFiles(k.dir)), Open: func() (Datapath, error) { return k.host, nil },
		Devices: k.host.list, Daemon: &DaemonOptions{},
	})
	next.look(true)
	next.sees(ack, false, true, time.Now())
	next.state("guarded", "10.0.0.5")
}

func TestPeopleChangeLeasesOfALivePort(t *testing.T) {
	k := learningKit(t, "any")
	added, err := k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.7")})
	if err != nil || added.PortChange.Result != PortUpdated {
		t.Fatalf("%+v, %v", added, err)
	}
	k.state("guarded", "10.0.0.7")
	k.claims("10.0.0.5")
	k.state("guarded", "10.0.0.7")
	if _, err := k.DeleteLease(t.Context(), alice, "vnet0", address("10.0.0.7")); err != nil {
		t.Fatal(err)
	}
	k.Agent.teach(t.Context(), k.host)
	k.state("learning")
	k.claims("10.0.0.5")
	k.state("guarded", "10.0.0.5")
	k.quiet()
}

func TestALeaseOfAnOperatorIsEnoughWhereNothingMayBeLearned(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("four", rule("<ip srcipaddr='$IP'/>")))
	k.host.add("vnet0")
	if _, err := k.bindTo("vnet0", "four", "CTRL_IP_LEARNING=none"); err == nil {
		t.Error("it was bound without any address")
	}
}

// TestADryRunLeavesLearningAlone tries a filter that needs no address.
func TestADryRunLeavesLearningAlone(t *testing.T) {
	k := learningKit(t, "any")
	if _, err := k.Define(t.Context(), alice, Document{Source: filterDoc("four", rule("<tcp/>"))}, true); err != nil {
		t.Fatal(err)
	}
	k.claims("10.0.0.5")
	k.state("guarded", "10.0.0.5")
	k.mustDefine(filterDoc("four", rule("<tcp/>")))
	if n := len(k.learners.ports); n != 0 {
		t.Errorf("%d ports learn that need nothing", n)
	}
	k.mustDefine(filterDoc("four", rule("<ip srcipaddr='$IP'/>")))
	k.state("guarded", "10.0.0.5") // it is remembered
}

func TestTwoPortsLearnEachItsOwn(t *testing.T) {
	k := learningKit(t, "any")
	k.host.add("vnet1x")
	if _, err := k.bindTo("vnet1x", "four"); err != nil {
		t.Fatal(err)
	}
	k.claims("10.0.0.5")
	if got := fmt.Sprint(len(k.learners.ports)); got != "2" {
		t.Errorf("%s ports learn", got)
	}
	k.has("vnet1x", "")
	k.has("vnet0", "vnet0 10.0.0.5 arp in use")
}

// TestNobodyTakesANeighboursAddress: a guest claims an address that a port of the
// same bridge has, by its binding or by what was learned there.
func TestNobodyTakesANeighboursAddress(t *testing.T) {
	k := learningKit(t, "any")
	for i, port := range []string{"given", "learned", "elsewhere"} {
		k.host.add(port)
		dev := k.host.devices[port]
		dev.Bridge = []int{100, 100, 200}[i]
		k.host.devices[port] = dev
	}
	dev := k.host.devices["vnet0"]
	dev.Bridge = 100
	k.host.devices["vnet0"] = dev
	k.mustBind("given", "four", "IP=10.0.0.1")
	for _, port := range []string{"learned", "elsewhere"} {
		k.mustBind(port, "four")
		if _, err := k.AddLease(t.Context(), alice, port, learn.Lease{Address: address(map[string]string{"learned": "10.0.0.2", "elsewhere": "10.0.0.3"}[port])}); err != nil {
			t.Fatal(err)
		}
	}
	k.look(true)
	k.claims("10.0.0.1")
	k.claims("10.0.0.2")
	k.claims("10.0.255.100") // the host's own on the bridge
	k.state("learning")
	if !strings.Contains(k.log.String(), "10.0.0.2 is the address of a neighbour") {
		t.Error("nothing was said of it")
	}
	k.claims("10.0.0.3") // on another bridge
	k.state("guarded", "10.0.0.3")
	// A port that is unbound has no address any more.
	if err := k.Unbind(t.Context(), alice, "learned"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.DeleteLease(t.Context(), alice, "vnet0", address("10.0.0.3")); err != nil {
		t.Fatal(err)
	}
	k.claims("10.0.0.2")
	k.state("guarded", "10.0.0.2")
}

// TestWhatCountsIsListedAsInUse: what the policy does not take, the list must not
// promise.
func TestWhatCountsIsListedAsInUse(t *testing.T) {
	k := learners(t)
	b := k.storeBinding("vnet0", "four", "CTRL_IP_LEARNING=dhcp")
	k.keep(b, leased("10.0.0.5", learn.ARP, 0), leased("10.0.0.6", learn.DHCP, time.Hour))
	k.has("vnet0", "vnet0 10.0.0.5 arp, vnet0 10.0.0.6 dhcp in use")
	// Pinned, it is somebody's word.
	if _, err := k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.5"), true); err != nil {
		t.Fatal(err)
	}
	k.has("vnet0", "vnet0 10.0.0.5 operator pinned in use, vnet0 10.0.0.6 dhcp in use")
}

func TestAPinnedOfferIsConfirmed(t *testing.T) {
	k := learningKit(t, "any")
	mac, server, a := guestMAC("vnet0"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.5")
	id := dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})
	k.sees(lab.DHCPRequest(mac, dhcpv4.MessageTypeDiscover, id), true, true, time.Now())
	k.sees(lab.DHCPReply(neighbourMAC, server, mac, dhcpv4.MessageTypeOffer, a, time.Hour, id), false, true, time.Now())
	k.has("vnet0", "vnet0 10.0.0.5 dhcp-offer in use")
	offered := func() bool {
		ports, _, err := k.Ports(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ports[0].Learning.Offered
	}
	if !offered() {
		t.Error("the policy does not let DHCP go on")
	}
	if _, err := k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.5"), true); err != nil {
		t.Fatal(err)
	}
	k.Agent.teach(t.Context(), k.host)
	k.has("vnet0", "vnet0 10.0.0.5 operator pinned in use")
	if offered() {
		t.Error("it still counts as an offer")
	}
	k.quiet()
}
