package lab

import (
	"net/netip"
	"testing"
)

func TestHundredActiveTransfersWithoutASecondSYN(t *testing.T) {
	l := newLab(t)
	for _, mode := range []FTPMode{ActivePORT, ActiveEPRT} {
		client, err := DialFTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(FTPPort))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for i := range 100 {
			if err := client.Retrieve(t.Context(), mode); err != nil {
				t.Fatalf("%s, transfer %d: %v", mode, i+1, err)
			}
		}
	}
	again, err := l.Guest.SYNRetransmissions()
	if err != nil {
		t.Fatal(err)
	}
	if again != 0 {
		t.Errorf("%d SYN segments were sent again", again)
	}
}

func TestActiveDataConnectionsComeFromPort20(t *testing.T) {
	l := newLab(t)
	client, err := DialFTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(FTPPort))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	listener, err := client.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := client.command(200, "PORT "+formatPORT(netip.MustParseAddrPort(listener.Addr().String()))); err != nil {
		t.Fatal(err)
	}
	if err := client.control.PrintfLine("RETR %s", FTPFile); err != nil {
		t.Fatal(err)
	}
	data, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if got, want := data.RemoteAddr().String(), l.Guest.At(20).String(); got != want {
		t.Errorf("data connection came from %s, want %s", got, want)
	}
}

func TestAddressesOfFTP(t *testing.T) {
	const bad = "" // no address
	for _, test := range []struct {
		command, argument, want string
	}{
		{"PORT", "10,77,0,20,156,64", "10.77.0.20:40000"},
		{"PORT", "10,77,0,20,156", bad},
		{"PORT", "10,77,0,20,156,256", bad},
		{"EPRT", "|1|10.77.0.20|40000|", "10.77.0.20:40000"},
		{"EPRT", "|2|fd77::20|40000|", "[fd77::20]:40000"},
		{"EPRT", "!1!10.77.0.20!40000!", "10.77.0.20:40000"},
		{"EPRT", "", bad},
		{"EPRT", "|1|10.77.0.20|", bad},
		{"EPRT", "|1|10.77.0|40000|", bad},
		{"EPRT", "|1|10.77.0.20|70000|", bad},
	} {
		parse := parsePORT
		if test.command == "EPRT" {
			parse = parseEPRT
		}
		got, err := parse(test.argument)
		if test.want == bad {
			if err == nil {
				t.Errorf("%s %s: got %s, want an error", test.command, test.argument, got)
			}
			continue
		}
		if err != nil || got != netip.MustParseAddrPort(test.want) {
			t.Errorf("%s %s: got %s, %v, want %s", test.command, test.argument, got, err, test.want)
		}
	}
}

func TestServerCallsNobodyElse(t *testing.T) {
	l := newLab(t)
	client, err := DialFTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(FTPPort))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.command(504, "PORT 10,77,0,66,156,64"); err != nil {
		t.Error(err)
	}
}
