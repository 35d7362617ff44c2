package datapath

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tapgate/internal/lab"
)

// The helpers with the programs that people use, where they are installed.

const programTime = 10 * time.Second

// installed finds programs by name, or skips the test.
func installed(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("needs the program %s, which is not installed; the same is tried with plain sockets in any case", name)
		}
		paths = append(paths, path)
	}
	return paths
}

// scene is a guarded port with a directory for programs of any user.
type scene struct {
	*live
	ctx context.Context
	dir string
}

func newScene(t *testing.T) *scene {
	l := newLive(t, Automatic)
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	t.Cleanup(cancel)
	s := &scene{l, ctx, t.TempDir()}
	for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *scene) write(name, text string) (path string) {
	s.t.Helper()
	path = filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// start runs a program that goes on.
func (s *scene) start(guest *lab.Guest, name string, arguments ...string) *lab.Program {
	s.t.Helper()
	p, err := s.Run(guest, exec.Command(name, arguments...))
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// try runs a program to its end.
func (s *scene) try(guest *lab.Guest, name string, arguments ...string) (string, error) {
	s.t.Helper()
	p := s.start(guest, name, arguments...)
	err := p.Wait(s.ctx)
	return p.Output(), err
}

func (s *scene) listening(guest *lab.Guest, transport string, port uint16, server *lab.Program) {
	s.t.Helper()
	if err := guest.Listening(s.ctx, transport, port); err != nil {
		s.t.Fatalf("%v; it printed:\n%s", err, server.Output())
	}
}

const announcedFile = "what is in the file\n"

func TestCurlFetchesFromVsftpd(t *testing.T) {
	vsftpd := installed(t, "vsftpd", "curl")[0]
	s := newScene(t)
	root := filepath.Dir(s.write("files/hello.txt", announcedFile))
	for _, v6 := range []bool{false, true} {
		listen, at, port := "listen=YES\nlisten_address="+s.Guest.IPv4.String(), s.Guest.At(21), 21
		if v6 {
			listen, at = "listen=NO\nlisten_ipv6=YES\nlisten_address6="+s.Guest.IPv6.String(), s.Guest.At6(21)
		}
		config := s.write("vsftpd.conf", listen+`
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=`+root+`
secure_chroot_dir=`+root+`
ftp_username=daemon
connect_from_port_20=YES
isolate_network=NO
`)
		server := s.start(s.Guest, vsftpd, config)
		s.listening(s.Guest, "tcp", uint16(port), server)
		s.guard(s.Guest.Port, resolve(t, announcedOnly("in", "tcp", 21)))
		for _, mode := range [][]string{{"--ftp-port", "-"}, {"--ftp-port", "-", "--disable-eprt"}, {"--ftp-pasv"}, {"--ftp-pasv", "--disable-epsv"}} {
			if v6 && len(mode) > 1 && strings.HasPrefix(mode[len(mode)-1], "--disable") {
				continue // over IPv6 there is nothing but EPRT and EPSV
			}
			arguments := append([]string{"--silent", "--show-error", "--max-time", "5"}, mode...)
			got, err := s.try(s.Neighbour, "curl", append(arguments, fmt.Sprintf("ftp://%s/hello.txt", at))...)
			if err != nil || got != announcedFile {
				t.Errorf("curl %s from %s: %q, %v", strings.Join(mode, " "), at, got, err)
			}
		}
		server.Stop()
		s.release(s.Guest.Port)
	}
}

func TestTFTPClientsFetchFromTftpd(t *testing.T) {
	tftpd := installed(t, "in.tftpd", "tftp")[0]
	s := newScene(t)
	content := strings.Repeat("0123456789abcdef", 2000)
	root := filepath.Dir(s.write("files/hello.txt", content))
	server := s.start(s.Neighbour, tftpd, "--foreground", "--listen", "--secure", root)
	s.listening(s.Neighbour, "udp", 69, server)
	s.guard(s.Guest.Port, resolve(t, announcedOnly("out", "udp", 69)))
	fetched := filepath.Join(s.dir, "fetched")
	for _, fetch := range [][]string{
		{"tftp", s.Neighbour.IPv4.String(), "-m", "binary", "-c", "get", "hello.txt", fetched},
		{"tftp", "-6", s.Neighbour.IPv6.String(), "-m", "binary", "-c", "get", "hello.txt", fetched},
		{"curl", "--silent", "--show-error", "--max-time", "5", "--output", fetched, "tftp://" + s.Neighbour.IPv4.String() + "/hello.txt"},
	} {
		if fetch[0] == "curl" {
			if _, err := exec.LookPath("curl"); err != nil {
				continue
			}
		}
		out, err := s.try(s.Guest, fetch[0], fetch[1:]...)
		if err != nil {
			t.Errorf("%s: %v", strings.Join(fetch, " "), err)
			continue
		}
		if got, err := os.ReadFile(fetched); err != nil || string(got) != content {
			t.Errorf("%s: %d bytes (%v), it printed:\n%s", strings.Join(fetch, " "), len(got), err, out)
		}
		os.Remove(fetched)
	}
}

func TestWeechatSendsAFileOverNgircd(t *testing.T) {
	ngircd := installed(t, "ngircd", "weechat-headless")[0]
	s := newScene(t)
	config := s.write("ngircd.conf", fmt.Sprintf(`[Global]
Name = irc.lab.test
Info = lab
Listen = %s
Ports = 6667
ServerUID = nobody
ServerGID = nogroup
[Options]
PAM = no
Ident = no
DNS = no
`, s.Neighbour.IPv4))
	server := s.start(s.Neighbour, ngircd, "--nodaemon", "--config", config)
	s.listening(s.Neighbour, "tcp", lab.IRCPort, server)
	s.guard(s.Guest.Port, resolve(t, announcedOnly("out", "tcp", lab.IRCPort)))

	file, received := s.write("sent", announcedFile), t.TempDir()
	client := func(guest *lab.Guest, name string, settings ...string) {
		dir := filepath.Join(s.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		settings = append(settings, "/server add lab "+s.Neighbour.IPv4.String()+"/6667 -notls -nicks="+name, "/connect lab")
		s.start(guest, "weechat-headless", "--dir", dir, "--plugins", "irc,xfer", "--stdout", "--run-command", strings.Join(settings, ";"))
	}
	client(s.Neighbour, "receiver", "/set xfer.file.auto_accept_files on", "/set xfer.file.download_path "+received)
	if err := s.await(func() bool { return strings.Contains(server.Output(), `User "receiver`) }); err != nil {
		t.Fatalf("the receiver does not log in; the server says:\n%s", server.Output())
	}
	client(s.Guest, "sender", "/set xfer.network.own_ip "+s.Guest.IPv4.String(),
		`/set irc.server_default.command "/dcc send receiver `+file+`"`)
	var got []byte
	err := s.await(func() bool {
		got, _ = os.ReadFile(filepath.Join(received, "sender.sent"))
		return string(got) == announcedFile
	})
	if err != nil {
		t.Errorf("received %q; the server says:\n%s", got, server.Output())
	}
}

// await looks now and then whether something has happened that nobody tells.
func (s *scene) await(happened func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return nil
}

func TestTwoPhonesTalk(t *testing.T) {
	baresip := installed(t, "baresip")[0]
	for _, transport := range []string{"udp", "tcp"} {
		for _, guarded := range []string{"caller", "callee"} {
			t.Run("by "+transport+", the "+guarded+" guarded", func(t *testing.T) {
				s := newScene(t)
				caller, callee, direction := s.Guest, s.Neighbour, "out"
				if guarded == "callee" {
					caller, callee, direction = callee, caller, "in"
				}
				s.guard(s.Guest.Port, resolve(t, announcedOnly(direction, transport, lab.SIPPort)))
				answering := s.phone(baresip, callee, transport)
				s.listening(callee, transport, lab.SIPPort, answering)
				calling := s.phone(baresip, caller, transport, "-e", fmt.Sprintf("/dial sip:phone@%s;transport=%s", callee.IPv4, transport))
				// What a phone prints when it hears the other.
				for p, other := range map[*lab.Program]*lab.Guest{calling: callee, answering: caller} {
					heard := "incoming rtp for 'audio' established, receiving from " + other.IPv4.String()
					if err := s.await(func() bool { return strings.Contains(p.Output(), heard) }); err != nil {
						t.Errorf("%q never came; the phone printed:\n%s", heard, p.Output())
					}
				}
			})
		}
	}
}

// phone starts a telephone that answers every call and sends a tone.
func (s *scene) phone(baresip string, guest *lab.Guest, transport string, arguments ...string) *lab.Program {
	s.t.Helper()
	const rate = 8000
	tone := s.write("tone.wav", wav(rate, make([]byte, 2*rate*int(programTime/time.Second))))
	config := s.write(guest.Name()+"/config", fmt.Sprintf(`sip_listen %s
module_path %s
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
audio_source aufile,%s
audio_player aufile,%s
`, guest.At(lab.SIPPort), baresipModules(s.t), tone, filepath.Join(s.dir, guest.Name(), "heard.wav")))
	s.write(guest.Name()+"/accounts", fmt.Sprintf("<sip:phone@%s;transport=%s>;regint=0;answermode=auto\n", guest.IPv4, transport))
	s.write(guest.Name()+"/contacts", "")
	return s.start(guest, baresip, append([]string{"-f", filepath.Dir(config)}, arguments...)...)
}

func baresipModules(t testing.TB) string {
	t.Helper()
	patterns := []string{"/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules", "/usr/local/lib/baresip/modules"}
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Skipf("baresip is installed without its modules: none of %s is there", strings.Join(patterns, ", "))
	return ""
}

// wav is a file of 16-bit samples of one channel.
func wav(rate uint32, samples []byte) string {
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+len(samples)))...)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = append(b, 1, 0, 1, 0) // PCM, one channel
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	return string(append(binary.LittleEndian.AppendUint32(b, uint32(len(samples))), samples...))
}
