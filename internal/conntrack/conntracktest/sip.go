package conntracktest

import (
	"fmt"
	"net/netip"
	"strings"
)

// sipMessage writes a SIP message out:
//
//	INVITE 1 own:4000 x:5000/video       a request with CSeq and media
//	200 1 INVITE own:4000                a response
//	REGISTER 1 o:7000,x;q=1 expires=60   CSeq's method REGISTER: with contacts
//
// Hosts are o, r, x, or own for the speaker. The session's address is that of
// the first medium; "none" as its host leaves it out.
func (f *helperTalk) sipMessage(from byte, text string) (string, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return "", fmt.Errorf("a SIP message has a method and a number, not only %q", text)
	}
	start, sequence, rest := fields[0]+" sip:lab SIP/2.0", fields[1]+" "+fields[0], fields[2:]
	if fields[0][0] <= '9' {
		if len(rest) == 0 {
			return "", fmt.Errorf("a SIP response has the method of its request, not only %q", text)
		}
		start, sequence, rest = "SIP/2.0 "+fields[0]+" Reason", fields[1]+" "+rest[0], rest[1:]
	}
	lines, body := []string{start, "Via: SIP/2.0/UDP lab;branch=z9hG4bK1", "CSeq: " + sequence}, ""
	for _, field := range rest {
		expires, ok := strings.CutPrefix(field, "expires=")
		switch {
		case ok:
			lines = append(lines, "Expires: "+expires)
		case strings.HasSuffix(sequence, "REGISTER"):
			lines = append(lines, "Contact: "+f.sipContacts(from, field))
		default:
			body += f.sipMedium(from, field, body == "")
		}
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	return strings.Join(lines, "\r\n"), nil
}

// sipContacts writes "o:7000,x;expires=60".
func (f *helperTalk) sipContacts(from byte, text string) string {
	var contacts []string
	for _, contact := range strings.Split(text, ",") {
		end, parameters, ok := strings.Cut(contact, ";")
		host, port, _ := strings.Cut(end, ":")
		uri := f.sipHost(from, host)
		if f.v6 {
			uri = "[" + uri + "]"
		}
		if port != "" {
			uri += ":" + port
		}
		uri = "<sip:user@" + uri + ">"
		if ok {
			uri += ";" + parameters
		}
		contacts = append(contacts, uri)
	}
	return strings.Join(contacts, ", ")
}

// sipMedium writes "own:4000/video", audio if it says nothing else.
func (f *helperTalk) sipMedium(from byte, text string, first bool) (lines string) {
	end, sort, ok := strings.Cut(text, "/")
	if !ok {
		sort = "audio"
	}
	host, port, _ := strings.Cut(end, ":")
	if first {
		lines = "v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\n"
		if host != "none" {
			version := "IP4"
			if f.v6 {
				version = "IP6"
			}
			lines += "c=IN " + version + " " + f.sipHost(from, host) + "\r\n"
		}
		lines += "t=0 0\r\n"
	}
	return lines + "m=" + sort + " " + port + " RTP/AVP 0\r\na=sendrecv\r\n"
}

func (f *helperTalk) sipHost(from byte, name string) string {
	if name == "own" {
		name = string(from)
	}
	address, _ := netip.AddrFromSlice(f.address(name))
	return address.String()
}
