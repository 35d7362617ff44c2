package datapath

import (
	"fmt"
	"net/netip"
	"strings"
)

// drawSIP draws a SIP message that tells of an address and ports.
func drawSIP(t *source, address netip.Addr, port func() uint16) string {
	methods := []string{"INVITE", "UPDATE", "ACK", "PRACK", "BYE", "REGISTER", "REGISTER", "invite", "OPTIONS"}
	method := oneOf(t, methods)
	lines := []string{method + " sip:b@lab SIP/2.0"}
	if t.chance(50) {
		lines[0] = "SIP/2.0 " + oneOf(t, []string{"100 Trying", "200 OK", "200 OK", "200 OK", "486 Busy", "0", "99"})
	}
	host, family := address.String(), "IP4"
	if address.Is6() {
		host, family = "["+host+"]", "IP6"
	}
	headers := []string{
		fmt.Sprintf("%s %d %s", oneOf(t, []string{"CSeq:", "CSEQ :", "cseq:\r\n"}), t.between(1, 3), method),
		oneOf(t, []string{"Expires: 60", "Expires: 0", "Expires: 99999999999", "Subject: CSeq: 1 BYE"}),
		oneOf(t, []string{"Contact: ", "m:", "Contact :\r\n "}) + drawContact(t, host, port) + oneOf(t, []string{"", ", " + drawContact(t, host, port)}),
	}
	for range t.between(0, 3) { // in any order, and now and then one is missing
		i := t.between(0, len(headers)-1)
		headers = append(append(headers[:i:i], headers[i+1:]...), headers[i])
	}
	if t.chance(10) {
		headers = headers[1:]
	}
	body := ""
	if t.chance(70) {
		connection := func() string {
			return oneOf(t, []string{"", fmt.Sprintf("c=IN %s %s\r\n", family, address), "c=IN IP4 10.9.9.9\r\n"})
		}
		body = "v=0\r\n" + fmt.Sprintf("c=IN %s %s%s\r\n", family, address, oneOf(t, []string{"", "/127"}))
		for range t.between(1, 4) {
			body += fmt.Sprintf("m=%s %d RTP/AVP 0\r\n", oneOf(t, []string{"audio", "audio", "video", "image", "text"}), port()) + connection()
		}
	}
	length := len(body)
	if t.chance(10) {
		length += t.between(-3, 3)
	}
	headers = append(headers, oneOf(t, []string{fmt.Sprintf("Content-Length: %d", length), fmt.Sprintf("l:%d", length)}))
	if t.chance(5) {
		headers = headers[:len(headers)-1]
	}
	return strings.Join(append(append(lines, headers...), "", body), oneOf(t, []string{"\r\n", "\r\n", "\n"}))
}

func drawContact(t *source, host string, port func() uint16) string {
	uri := oneOf(t, []string{"sip:", "sip:", "sip:", "SIP:u@", "sips:", "sip:10.0.0.3:99@", ""}) + host
	if t.chance(80) {
		uri += fmt.Sprintf(":%d", port())
	}
	form := oneOf(t, []string{"<%s>", "<%s>", "<%s>", "%s", "\"a b\" <%s>;q=1", "<%s>;expires=90", "<%s;transport=udp>", "<%s;transport=TCP>;expires=0", "<%s>;expires=x"})
	return fmt.Sprintf(form, uri)
}
