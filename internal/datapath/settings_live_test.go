package datapath

import (
	"context"
	"strings"
	"testing"
	"time"

	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
)

// guardWith guards a port with settings, NAME=VALUE by NAME=VALUE.
func (l *live) guardWith(port string, p *policy.Policy, parameters ...nwfilter.Parameter) {
	l.t.Helper()
	values, err := settings.Resolve(nil, parameters)
	if err != nil {
		l.t.Fatal(err)
	}
	l.in(func() error {
		_, err := l.host.Guard(l.t.Context(), port, p, Meta{Settings: values})
		return err
	})
}

// A port's own time holds for its connections, and another one that is set
// while a connection lives counts from the connection's next packet.
func TestTheTimeoutOfAPort(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	own := nwfilter.Parameter{Name: "CTRL_TIMEOUT_UDP", Value: "2"}
	l.guardWith(port, resolve(t, replies), own)
	l.arrives(l.Guest, l.Neighbour, l.udp(53, "question"), true)
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "answer"), true)
	l.guard(port, resolve(t, replies))
	l.arrives(l.Guest, l.Neighbour, l.udp(54, "a question with the default"), true)
	l.guardWith(port, resolve(t, replies), own)

	<-time.After(2200 * time.Millisecond) // the time under test
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "answer after the port's own time"), false)
	l.arrives(l.Neighbour, l.Guest, l.reply(54, "answer within the default"), true)
	want := settings.Value{Name: own.Name, Value: own.Value, From: settings.ByPort}
	if got := l.port(port).Settings.Set(); len(got) != 1 || got[0] != want {
		t.Errorf("in force is %v, want %v", got, want)
	}
}

func TestTheQuotaOfAPort(t *testing.T) {
	l := newLive(t, Automatic)
	l.guardWith(l.Guest.Port, resolve(t, replies), nwfilter.Parameter{Name: "CTRL_MAX_CONNECTIONS", Value: "2"})
	for i, want := range []bool{true, true, false} {
		l.arrives(l.Guest, l.Neighbour, l.udp(53+uint16(i), "question"), want)
	}
	if s := l.stats(l.Guest.Port); s.Connections != 2 || s.Refused == 0 {
		t.Errorf("%d connections, %d refused", s.Connections, s.Refused)
	}
}

// announced lets connections to the guest's port 2121 through, and what is
// announced there.
const announced = `<filter name="announced">
  <rule action="accept" direction="in"><tcp dstportstart="2121" state="NEW,ESTABLISHED"/></rule>
  <rule action="accept" direction="in"><tcp state="ESTABLISHED"/></rule>
  <rule action="accept" direction="out"><tcp state="ESTABLISHED,RELATED"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// A server that listens elsewhere needs the port's setting.
func TestThePortOfAHelper(t *testing.T) {
	for _, test := range []struct {
		ports  string
		admits bool
	}{{"21", false}, {"2121", true}, {"none", false}} {
		t.Run(test.ports, func(t *testing.T) {
			l := newLive(t, Automatic)
			l.guardWith(l.Guest.Port, resolve(t, announced), nwfilter.Parameter{Name: "CTRL_HELPER_FTP", Value: test.ports})
			k := l.talk(t, 2121)
			data, err := l.Neighbour.Listen(l.Neighbour.At(1025))
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			k.say(k.guest, "220 ready\r\n")
			k.hears(k.client, "220 ready\r\n")
			command := "PORT " + strings.ReplaceAll(l.Neighbour.IPv4.String(), ".", ",") + ",4,1\r\n"
			k.say(k.client, command)
			k.hears(k.guest, command)
			patience := 500 * time.Millisecond
			if test.admits {
				patience = 10 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := l.Guest.Dial(ctx, "tcp", l.Neighbour.At(1025))
			if err == nil {
				conn.Close()
			}
			if (err == nil) != test.admits {
				t.Errorf("the announced connection: %v", err)
			}
		})
	}
}
