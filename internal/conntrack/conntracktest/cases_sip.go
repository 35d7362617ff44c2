package conntracktest

import (
	"fmt"
	"strings"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// SIP, with o as a phone and r as the other or as the registrar. For messages in
// angle brackets see sipMessage.
var sipCases = helperCases{helper: conntrack.SIP, proto: packet.ProtoUDP, port: 5060, cases: []helperCase{
	{"invitation", `o<INVITE 1 own:4000> NEW · r:9>4000 udp REL · r:9>4001 udp REL · o:4000>9 udp EST`},
	{"answer", `o<INVITE 1> NEW · r<200 1 INVITE own:4000> · o:9>4000 udp REL · o:9>4001 udp REL`},
	{"both ways, before and after the answer", `o<INVITE 1 own:4000> NEW · r:9>4000 udp REL · r<180 1 INVITE> · r<200 1 INVITE own:5000> · o<ACK 1> · o:9>5000 udp REL · r:9>4001 udp REL · o:9>5001 udp REL`},
	{"over IPv6", `v6 · o<INVITE 1 own:4000> NEW · r:9>4000 udp REL · r:9>4001 udp REL`},
	{"an odd port", `o<INVITE 1 own:4001> NEW · r:9>4000 udp REL · r:9>4001 udp REL · r:9>4002 udp NEW`},
	{"from another host", `o<INVITE 1 own:4000> NEW · x:9>4000 udp NEW · r:9>4001 udp REL`},
	{"to another port", `o<INVITE 1 own:4000> NEW · r:9>4002 udp NEW · r:9>3999 udp NEW`},
	{"the other way", `o<INVITE 1 own:4000> NEW · o:9>4000 udp NEW`},
	{"another protocol", `o<INVITE 1 own:4000> NEW · r:9>4000 S NEW`},
	{"each once", `o<INVITE 1 own:4000> NEW · r:9>4000 udp REL · r:10>4000 udp NEW · r:9>4001 udp REL · r:10>4001 udp NEW`},
	{"lives 180 s", `o<INVITE 1 own:4000> NEW · +179s · r:9>4000 udp REL · +1s · r:9>4001 udp NEW`},
	{"a message that a rule drops", `o<INVITE 1 own:4000>! NEW · r:9>4000 udp NEW`},

	{"a foreign address", `o<INVITE 1 x:4000> NEW · r:9>4000 udp NEW · x:9>4000 udp NEW`},
	{"the peer's address", `o<INVITE 1 r:4000> NEW · o:9>4000 udp NEW · r:9>4000 udp NEW`},
	{"no address", `o<INVITE 1 none:4000> NEW · r:9>4000 udp NEW`},
	{"another family's address", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP6 fd00::6f\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"an address that is no number", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 phone\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"of three media each has an address", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.120\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.111\r\nm=video 5000 RTP/AVP 31\r\nm=image 6000 udptl t38\r\nc=IN IP4 10.0.0.111/127\r\n" NEW · r:9>4000 udp REL · r:9>5000 udp NEW · r:9>6000 udp REL`},
	{"the medium's address is foreign, the session's own", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.120\r\nm=video 5000 RTP/AVP 31\r\n" NEW · r:9>4000 udp NEW · r:9>5000 udp REL`},
	{"an address in front of the description", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"in several parts", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n--part\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n--part--\r\n" NEW · r:9>4000 udp REL`},
	{"lines that end in LF", `o"invite sip:b SIP/2.0\ncseq : 1 invite\n\nv=0\nc=IN IP4 10.0.0.111\nm=audio 4000 RTP/AVP 0\n" NEW · r:9>4000 udp REL`},
	{"names in the other case", `o"invite sip:b SIP/2.0\r\ncseq: 1 Invite\r\n\r\nV=0\r\nC=IN IP4 10.0.0.111\r\nM=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp REL`},
	{"values in the other case", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=AUDIO 4000 RTP/AVP 0\r\nm=audio 5000 RTP/AVP 0\r\nc=in ip4 10.0.0.120\r\n" NEW · r:9>4000 udp NEW · r:9>5000 udp REL`},
	{"a datagram ends its last line", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000" NEW · r:9>4000 udp REL`},
	{"which tells the address", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.111" NEW · r:9>4000 udp REL`},
	{"which is a header", `o<INVITE 1 own:4000> NEW · r"SIP/2.0 486 Busy\r\nCSeq: 1 INVITE" · r:9>4000 udp NEW`},
	{"the session's first address counts", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.120\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"several ports of a medium", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000/2 RTP/AVP 0\r\n" NEW · r:9>4000 udp REL · r:9>4002 udp NEW`},
	{"a broken line", `o"INVITE sip:b SIP/2.0\r\nCSeq:\r\n 1 INVITE\r\nSubject: x\r\n CSeq: 2 BYE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp REL · r<486 1 INVITE> · r:9>4001 udp NEW`},

	{"port 0 is unused", `o<INVITE 1 own:0 own:4000> NEW · r:9>4000 udp REL · r:9>0 udp NEW`},
	{"a port below 1024", `o<INVITE 1 own:1023> NEW · r:9>1022 udp NEW · r:9>1023 udp NEW`},
	{"a port above 65535", `o<INVITE 1 own:69536> NEW · r:9>4000 udp NEW`},
	{"audio, video and image", `o<INVITE 1 own:4000 own:5000/video own:6000/image> NEW · r:9>4000 udp REL · r:9>5001 udp REL · r:9>6000 udp REL`},
	{"another sort of medium", `o<INVITE 1 own:4000/application> NEW · r:9>4000 udp NEW`},
	{"of four media three count", `o<INVITE 1 own:4000/video own:5000/video own:6000/image own:7000> NEW · r:9>4000 udp REL · r:9>5000 udp REL · r:9>6000 udp REL · r:9>7000 udp NEW`},
	{"of audio four at a time, the oldest give way", `o<INVITE 1 own:4000 own:5000 own:6000> NEW · r:9>4000 udp NEW · r:9>4001 udp NEW · r:9>5000 udp REL · r:9>5001 udp REL · r:9>6000 udp REL · r:9>6001 udp REL`},
	{"of images two", `o<INVITE 1 own:4000/image own:5000/image> NEW · r:9>4000 udp NEW · r:9>5000 udp REL · r:9>5001 udp REL`},
	{"the same again", `o<INVITE 1 own:4000> NEW · r<183 1 INVITE own:5000> · o:9>5000 udp REL · r<200 1 INVITE own:5000> · o:10>5000 udp REL`},

	{"the end of the call", `o<INVITE 1 own:4000> NEW · r<200 1 INVITE own:5000> · o<BYE 2> · r:9>4000 udp NEW · o:9>5000 udp NEW`},
	{"the end by the other", `o<INVITE 1 own:4000> NEW · r<200 1 INVITE own:5000> · r<BYE 7> · r:9>4000 udp NEW · o:9>5000 udp NEW`},
	{"a connection lives longer than its call", `o<INVITE 1 own:4000> NEW · r:9>4000 udp REL · o<BYE 2> NEW · o:4000>9 udp EST`},
	{"another invitation", `o<INVITE 1 own:4000> NEW · o<INVITE 2 own:5000> NEW · r:9>4000 udp NEW · r:9>5000 udp REL`},
	{"an invitation without media", `o<INVITE 1 own:4000> NEW · o<INVITE 2> NEW · r:9>4000 udp NEW`},
	{"refused", `o<INVITE 1 own:4000> NEW · r<486 1 INVITE> · r:9>4000 udp NEW`},
	{"redirected", `o<INVITE 1 own:4000> NEW · r<302 1 INVITE> · r:9>4000 udp NEW`},
	{"another invitation refused", `o<INVITE 1 own:4000> NEW · r<486 2 INVITE> · r:9>4000 udp REL`},
	{"refused, by an UPDATE with the same number", `o<INVITE 1 own:4000> NEW · r<486 1 UPDATE> · r:9>4000 udp NEW`},
	{"another method refused", `o<INVITE 1 own:4000> NEW · r<486 1 OPTIONS> · r<486 1 BYE> · r:9>4000 udp REL`},
	{"a refusal with media", `o<INVITE 1> NEW · r<486 2 INVITE own:4000> · o:9>4000 udp NEW`},
	{"refused for good", `o<INVITE 1 own:4000> NEW · r<603 1 INVITE> · r:9>4000 udp NEW`},
	{"a status that is none", `o<INVITE 1 own:4000> NEW · r<99 1 INVITE> · r:9>4000 udp NEW`},
	{"cancelled, but not refused yet", `o<INVITE 1 own:4000> NEW · o<CANCEL 1> NEW · r:9>4000 udp REL`},
	{"the number 0", `o<INVITE 0 own:4000> NEW · r<486 0 INVITE> · r:9>4000 udp NEW`},
	{"provisional", `o<INVITE 1 own:4000> NEW · r<100 1 INVITE> · r:9>4000 udp REL`},
	{"update, acknowledgements", `o<UPDATE 1 own:4000> NEW · o<PRACK 2 own:5000> NEW · r:9>4000 udp REL · r<200 2 PRACK own:6000> · r:9>5000 udp REL · o<ACK 1 own:7000> · o:9>6000 udp REL · r:9>7000 udp REL`},
	{"update does not end what was told before", `o<INVITE 1 own:4000> NEW · o<UPDATE 2 own:5000> NEW · r:9>4000 udp REL · r:9>5000 udp REL`},
	{"other methods announce nothing", `o<OPTIONS 1 own:4000> NEW · o<MESSAGE 2 own:4000> NEW · o<BYE 3 own:4000> NEW · o<REGISTER 4 own:4000> NEW · r:9>4000 udp NEW`},
	{"nor do answers to them", `o<OPTIONS 1> NEW · r<200 1 OPTIONS own:4000> · r<200 1 BYE own:4000> · r<200 1 ACK own:4000> · o:9>4000 udp NEW`},

	{"no CSeq", `o"INVITE sip:b SIP/2.0\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"the end without CSeq", `o<INVITE 1 own:4000> NEW · o"BYE sip:b SIP/2.0\r\n\r\n" NEW · r:9>4000 udp REL`},
	{"no status", `o<INVITE 1> NEW · r"SIP/2.0 OK\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.114\r\nm=audio 4000 RTP/AVP 0\r\n" · o:9>4000 udp NEW`},
	{"no method", `o"INVITES sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"split over datagrams", `o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\n" NEW · o"m=audio 4000 RTP/AVP 0\r\n" NEW · r:9>4000 udp NEW`},
	{"the end without an empty line", `o<INVITE 1 own:4000> NEW · o"BYE sip:b SIP/2.0\r\nCSeq: 2 BYE\r\n" NEW · r:9>4000 udp NEW`},

	{"a message keeps the control connection for an hour", `o<OPTIONS 1> NEW · +3599s · o<OPTIONS 2> NEW · r"\r\n\r\n" · +3599s · o<OPTIONS 3>`},
	{"and no longer", `o<OPTIONS 1> NEW · r<200 1 OPTIONS> · +3600s · o<OPTIONS 2> NEW · r:5060>41000 udp NEW`},

	{"registered", `o<REGISTER 1 o:7000 expires=60> NEW · r:9>7000 udp NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp REL · r:11>7000 udp REL · x:9>7000 udp NEW · r:9>7001 udp NEW`},
	{"registered over IPv6", `v6 · o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp REL`},
	{"for as long as agreed", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=300> · +299s · r:10>7000 udp REL · +1s · r:11>7000 udp NEW`},
	{"the registrar takes its time", `o<REGISTER 1 o:7000 expires=60> NEW · r<100 1 REGISTER> · +179s · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp REL`},
	{"too much of it", `o<REGISTER 1 o:7000 expires=60> NEW · r<100 1 REGISTER> · +180s · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp NEW`},
	{"refused registration", `o<REGISTER 1 o:7000 expires=60> NEW · r<401 1 REGISTER> · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp NEW`},
	{"another registration is agreed to", `o<REGISTER 2 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp NEW · r<200 2 REGISTER o:7000 expires=60> · r:11>7000 udp REL`},
	{"another contact is", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7001 expires=60> · r:10>7000 udp NEW · r:10>7001 udp NEW`},
	{"no contact is", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER expires=60> · r:10>7000 udp NEW`},
	{"among others", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER x:7000,o:6000,o:7000,o:8000 expires=60> · r:10>7000 udp REL · r:10>6000 udp NEW · r:10>8000 udp NEW`},
	{"for no time", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=0> · r:10>7000 udp NEW`},
	{"for no time told", `o<REGISTER 1 o:7000> NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp NEW`},
	{"taken back", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · o<REGISTER 2 o:7000 expires=0> · r:10>7000 udp REL · r<200 2 REGISTER> · r:11>7000 udp NEW`},
	{"renewed, and not expected until that is agreed to", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · o<REGISTER 2 o:7000 expires=60> · r:10>7000 udp NEW · r<200 2 REGISTER o:7000 expires=60> · r:11>7000 udp REL`},
	{"one at a time", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · o<REGISTER 2 o:8000 expires=60> · r<200 2 REGISTER o:7000,o:8000 expires=60> · r:10>7000 udp NEW · r:10>8000 udp REL`},
	{"somebody else", `o<REGISTER 1 x:7000 expires=60> NEW · r<200 1 REGISTER x:7000 expires=60> · r:10>7000 udp NEW`},
	{"the first contact counts", `o<REGISTER 1 x:7000,o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 udp NEW`},
	{"in several headers", `o"REGISTER sip:r SIP/2.0\r\nCSeq: 1 REGISTER\r\nContact: <sip:10.0.0.111:7000>;expires=60\r\nContact: <sip:10.0.0.111:7002>;expires=60\r\n\r\n" NEW · r"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:10.0.0.111:7002>;expires=60\r\nContact: <sip:10.0.0.111:7000>;expires=60\r\n\r\n" · r:10>7000 udp REL · r:9>7002 udp NEW`},
	{"all contacts", `o"REGISTER sip:r SIP/2.0\r\nCSeq: 1 REGISTER\r\nContact: *\r\nExpires: 60\r\n\r\n" NEW · r<200 1 REGISTER o expires=60> · r:10>5060 udp NEW`},
	{"no port is 5060", `o<REGISTER 1 o expires=60> NEW · r<200 1 REGISTER o expires=60> · r:10>5060 udp REL`},
	{"a contact's port below 1024", `o<REGISTER 1 o:700 expires=60> NEW · r<200 1 REGISTER o:700 expires=60> · r:10>700 udp NEW`},
	{"a lifetime of its own", `o<REGISTER 1 o:7000;expires=60> NEW · r<200 1 REGISTER o:7000;expires=300 expires=60> · +299s · r:10>7000 udp REL`},
	{"a header behind the contact", `o"REGISTER sip:r SIP/2.0\r\nm: <sip:u@10.0.0.111:7000>\r\nExpires: 60\r\nCSeq: 1 REGISTER\r\n\r\n" NEW · r"SIP/2.0 200 OK\r\nm: <sip:u@10.0.0.111:7000>\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\n\r\n" · r:10>7000 udp REL`},
	{"the same transport protocol", `o<REGISTER 1 o:7000;transport=udp expires=60> NEW · r<200 1 REGISTER o:7000;transport=UDP expires=60> · r:10>7000 udp REL`},
	{"another one", `o<REGISTER 1 o:7000;transport=tcp expires=60> NEW · r<200 1 REGISTER o:7000;transport=tcp expires=60> · r:10>7000 udp NEW · r:10>7000 S NEW`},
	{"one that nobody knows", `o<REGISTER 1 o:7000;transport=ws expires=60> NEW · r<200 1 REGISTER o:7000;transport=ws expires=60> · r:10>7000 udp NEW`},
	{"who is called speaks SIP", `o<REGISTER 1 o:7000 expires=600> NEW · r<200 1 REGISTER o:7000 expires=600> · r:5060>7000<INVITE 1 own:4000> REL · o:9>4000 udp REL · o:7000>5060<200 1 INVITE own:5000> · r:9>5000 udp REL`},
	{"and registers nothing", `o<REGISTER 1 o:7000 expires=600> NEW · r<200 1 REGISTER o:7000 expires=600> · r:5060>7000<REGISTER 1 r:8000 expires=60> REL · o:7000>5060<200 1 REGISTER r:8000 expires=60> · o:9>8000 udp NEW`},
	{"a call ends no registration", `o<REGISTER 1 o:7000 expires=60> NEW · r<200 1 REGISTER o:7000 expires=60> · o<INVITE 2 own:4000> · o<BYE 3> · r:9>4000 udp NEW · r:10>7000 udp REL`},
	{"a registration ends no call", `o<INVITE 1 own:4000> NEW · o<REGISTER 2 o:7000 expires=60> NEW · r<403 2 REGISTER> · r:9>4000 udp REL`},
	{"the server registers", `o<OPTIONS 1> NEW · r<REGISTER 1 r:7000 expires=60> · o<200 1 REGISTER r:7000 expires=60> · o:10>7000 udp REL`},
	{"ends with the control connection", `o<REGISTER 1 o:7000 expires=7200> NEW · r<200 1 REGISTER o:7000 expires=7200> · +3599s · r:10>7000 udp REL · +1s · r:11>7000 udp NEW`},

	{"a host without a user", contactCase("<sip:10.0.0.111:7000>", "REL")},
	{"without brackets", contactCase("sip:10.0.0.111:7000", "REL")},
	{"a user that looks like a host", contactCase("<sip:10.0.0.120:5060@10.0.0.111:7000>", "REL")},
	{"a host that looks like a user", contactCase("<sip:10.0.0.111:7000@10.0.0.120>", "NEW")},
	{"a user with marks", contactCase("\\\"A. B.\\\" <SIP:a;b=c?d&e@10.0.0.111:7000;x=y>;q=0.5", "REL")},
	{"a host name", contactCase("<sip:u@phone.lab:7000>", "NEW")},
	{"a host name that begins as an address", contactCase("<sip:u@10.0.0.111.lab:7000>", "NEW")},
	{"half an address", contactCase("<sip:u@10.0.111:7000>", "NEW")},
	{"an octet that is none", contactCase("<sip:u@10.0.0.367:7000>", "NEW")},
	{"by TLS", contactCase("<sips:u@10.0.0.111:7000>", "NEW")},
	{"a telephone number", contactCase("<tel:10.0.0.111:7000>", "NEW")},
	{"a port above 65535 in a contact", contactCase("<sip:u@10.0.0.111:72536>", "NEW")},
	{"IPv6 in IPv4", contactCase("<sip:u@[fd00::6f]:7000>", "NEW")},
	{"IPv4 in IPv6", "v6 · " + contactCase("<sip:u@10.0.0.111:7000>", "NEW")},
	{"an IPv6 address", "v6 · " + contactCase("<sip:u@[fd00::6f]:7000>", "REL")},
	{"an IPv6 address in full", "v6 · " + contactCase("<sip:[fd00:0:0:0:0:0:0:6F]:7000>", "REL")},
	{"an IPv6 address with too many groups", "v6 · " + contactCase("<sip:[fd00:0:0:0:0:0:0:0:6f]:7000>", "NEW")},
	{"an IPv6 address without brackets", "v6 · " + contactCase("<sip:fd00::6f:7000>", "NEW")},
}, differs: map[string]string{
	"lines that end in LF": "the kernel's lines of a header end in CRLF",
}}

// contactCase registers a contact, which the registrar agrees to.
func contactCase(contact, want string) string {
	return `o"REGISTER sip:r SIP/2.0\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\nContact: ` + contact + `\r\n\r\n" NEW · ` +
		`r"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\nContact: ` + contact + `\r\n\r\n" · r:10>7000 udp ` + want
}

// described is a request with one medium.
func described(method, medium string) string {
	body := "v=0\r\nc=IN IP4 10.0.0.111\r\nm=" + medium + " x\r\n"
	text := fmt.Sprintf("%s sip:b SIP/2.0\r\nCSeq: 1 %s\r\nl: %d\r\n\r\n%s", method, method, len(body), body)
	return strings.ReplaceAll(text, "\r\n", `\r\n`)
}

// sipStreamCases are of SIP over TCP.
var sipStreamCases = helperCases{helper: conntrack.SIP, proto: packet.ProtoTCP, port: 5060, cases: []helperCase{
	{"invitation", `open · o<INVITE 1 own:4000> · r:9>4000 udp REL · r:9>4001 udp REL · r<200 1 INVITE own:5000> · o:9>5000 udp REL`},
	{"over IPv6", `v6 · open · o<INVITE 1 own:4000> · r:9>4000 udp REL`},
	{"the end of the call", `open · o<INVITE 1 own:4000> · r<200 1 INVITE own:5000> · o<BYE 2> · r:9>4000 udp NEW · o:9>5000 udp NEW`},
	{"split over segments", `open · o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 50\r\n\r\nv=0\r\nc=IN IP4 10.0" · o".0.111\r\nm=audio 4000 RTP/AVP 0\r\n" · r:9>4000 udp REL`},
	{"several in a segment", `open · o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 50\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n\r\n\r\nUPDATE sip:b SIP/2.0\r\nCSeq: 2 UPDATE\r\nl: 50\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 5000 RTP/AVP 0\r\n" · r:9>4000 udp REL · r:9>5000 udp REL`},
	{"of many media in a segment the latest count, whatever follows", `open · o"` + described("INVITE", "audio 4000") + strings.Repeat(described("UPDATE", "image 6000"), 15) +
		`ACK sip:b SIP/2.0\r\nCSeq: 1 ACK\r\nl: 0\r\n\r\n" · r:9>4000 udp REL · r:9>6000 udp REL`},
	{"no length", `open · o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" · r:9>4000 udp NEW`},
	{"too short a length", `open · o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 24\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" · r:9>4000 udp NEW`},
	{"a message within a message", `open · o"MESSAGE sip:b SIP/2.0\r\nCSeq: 1 MESSAGE\r\nl: 92\r\n\r\nINVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 50\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" · r:9>4000 udp NEW`},
	{"behind a message that nobody knows", `open · o"FROB sip:b SIP/2.0\r\nl: 5\r\n\r\nINVITo" · o<INVITE 1 own:4000> · r:9>4000 udp NEW`},
	{"behind one of the length told", `open · o"FROB sip:b SIP/2.0\r\nl: 6\r\n\r\nINVITE" · o<INVITE 1 own:4000> · r:9>4000 udp REL`},
	{"behind a gap", `open · o<OPTIONS 1> · +3 o"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 50\r\n\r\nv=0\r\nc=IN IP4 10.0.0.111\r\nm=audio 4000 RTP/AVP 0\r\n" · r:9>4000 udp NEW · o<INVITE 1 own:5000> · r:9>5000 udp REL`},
	{"a message keeps the control connection for an hour", `open · o<OPTIONS 1> · r<200 1 OPTIONS> · +3599s · o<OPTIONS 2> · +3600s · o<OPTIONS 3> NEW`},

	{"registered", `open · o<REGISTER 1 o:7000 expires=60> · r:9>7000 S NEW · r<200 1 REGISTER o:7000 expires=60> · r:10>7000 S REL · r:11>7000 S REL · x:9>7000 S NEW · r:9>7000 udp NEW`},
	{"another transport protocol", `open · o<REGISTER 1 o:7000;transport=udp expires=60> · r<200 1 REGISTER o:7000;transport=udp expires=60> · r:10>7000 S NEW · r:10>7000 udp NEW`},
}, differs: map[string]string{
	"split over segments":                bySegment,
	"several in a segment":               "the kernel reads no message behind empty lines",
	"behind a message that nobody knows": bySegment,
	"behind a gap":                       bySegment,
}}
