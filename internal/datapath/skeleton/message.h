/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What a SIP message says. Mirrors internal/conntrack/message.go, which says
 * what everything means: change both together. */
#ifndef TAPGATE_MESSAGE_H
#define TAPGATE_MESSAGE_H

#define SIP_PORT	5060
#define LOWEST_PORT	1024	/* that a contact or a medium may have */
#define MEDIA_COUNT	3	/* descriptions of media that count in one message */

#define KIND_SIGNALLING	0
#define KIND_AUDIO	1

enum {
	IS_REQUEST = 1,
	IS_RESPONSE,
};

static __always_inline void message_put(struct message *m, __u16 flags, bool on)
{
	m->flags = on ? m->flags | flags : m->flags & ~flags;
}

/* Whether the contact is the one that the connection has registered. */
static __always_inline bool message_registered(const struct message *m, const struct speaker *who)
{
	return (m->flags & (CONTACT_OWN | CONTACT_FOREIGN)) == CONTACT_OWN && m->contact_port == who->registered;
}

/* Takes a part of a contact's URI. */
static __always_inline void message_contact(struct message *m, const struct speaker *who, __u8 action, __u32 value,
					    bool spoilt)
{
	if (action == ACTION_URI) {
		message_put(m, CONTACT_SETTLED, m->flags & HAS_CONTACT &&
			    (m->is == IS_REQUEST || message_registered(m, who)));
		m->flags |= HAS_CONTACT;
	}
	if (m->flags & CONTACT_SETTLED)
		return;
	switch (action) {
	case ACTION_URI:
	case ACTION_USER:
		m->contact_port = SIP_PORT;
		m->flags &= ~(CONTACT_OWN | CONTACT_FOREIGN | CONTACT_LIMITED);
		break;
	case ACTION_CONTACT_PORT:
		m->contact_port = value;
		if (spoilt || value < LOWEST_PORT)
			m->flags &= ~CONTACT_OWN;
		break;
	case ACTION_CONTACT_EXPIRES:
		if (m->flags & CONTACT_LIMITED)
			break;
		m->contact_expires = value;
		m->flags |= CONTACT_LIMITED;
		break;
	case ACTION_TRANSPORT:
		m->flags |= CONTACT_FOREIGN;
		break;
	case ACTION_UDP:
	case ACTION_TCP:
		if ((action == ACTION_UDP) == (who->proto == PROTO_UDP))
			m->flags &= ~CONTACT_FOREIGN;
		break;
	}
}

static __always_inline __u32 message_lifetime(const struct message *m)
{
	if (m->flags & CONTACT_LIMITED)
		return m->contact_expires;
	return m->flags & HAS_EXPIRES ? m->expires : 0;
}

/* Ends an IP address: true if it is one of the connection's family. */
static __always_inline bool message_complete(struct registers *r, const struct speaker *who, __u8 action, bool *own)
{
	const __u64 *at = who->address;
	__u8 family = 6;

	switch (action) {
	case ACTION_ADDRESS_OCTET:
		r->head[1] = r->head[1] << 8 | r->value;
		family = 4;
		break;
	case ACTION_ADDRESS_GROUP:
		r->spoilt |= r->groups != 7;
		head_group(r);
		break;
	case ACTION_ADDRESS_TAIL:
		r->spoilt |= r->groups >= 7;
		tail_group(r);
		break;
	}
	if (r->message.is == IS_RESPONSE && !(r->message.flags & IN_BODY))
		at = who->peer;
	*own = (r->head[0] | r->tail[0]) == at[0] && (r->head[1] | r->tail[1]) == at[1];
	return !r->spoilt && family == who->family;
}

/* Takes the address of a contact, of the session or of one medium. */
static __always_inline void message_address(struct message *m, bool own)
{
	__u16 given = SESSION_GIVEN, mine = SESSION_OWN;

	if (!(m->flags & IN_BODY)) {
		if (!(m->flags & CONTACT_SETTLED))
			message_put(m, CONTACT_OWN, own);
		return;
	}
	if (m->flags & HAS_MEDIUM) {
		given = MEDIUM_GIVEN;
		mine = MEDIUM_OWN;
	}
	if (m->flags & given)
		return;
	m->flags |= given;
	message_put(m, mine, own);
}

/* The meaning of the headers: true if it is an event. */
static __always_inline bool message_meaning(struct message *m, const struct speaker *who, struct event *e)
{
	bool request = m->is == IS_REQUEST, well = request || (m->status >= 100 && m->status < 300);

	e->kind = KIND_SIGNALLING;
	e->number = m->sequence;
	if (!(m->flags & HAS_SEQUENCE) || !m->is || (!request && !m->status))
		return false;
	switch (m->method) {
	case ACTION_INVITE:
	case ACTION_UPDATE:
	case ACTION_PRACK:
		message_put(m, DESCRIBED, well);
		e->op = well ? OP_INVITE : OP_FAILED;
		return !well || (request && m->method == ACTION_INVITE);
	case ACTION_ACK:
		message_put(m, DESCRIBED, request);
		return false;
	case ACTION_BYE:
		e->op = OP_BYE;
		return request;
	case ACTION_REGISTER:
		e->port = m->contact_port;
		e->lifetime = message_lifetime(m);
		if (request) {
			e->op = OP_REGISTER;
			return (m->flags & (CONTACT_OWN | CONTACT_FOREIGN)) == CONTACT_OWN;
		}
		e->op = well && message_registered(m, who) && e->lifetime ? OP_REGISTERED : OP_REFUSED;
		return !well || m->status >= 200;
	}
	return false;
}

/* Ends the headers. */
static __always_inline bool message_headers(struct registers *r, const struct speaker *who, struct event *e)
{
	bool stream = who->proto == PROTO_TCP, event = false;
	struct message *m = &r->message;

	if (!stream || m->flags & HAS_LENGTH)
		event = message_meaning(m, who, e);
	m->flags |= IN_BODY;
	if (!stream)
		m->length = 0;
	else if (!m->length)
		restart(r, who->start);
	return event;
}

/* Ends the description of a medium: true if it is announced. */
static __always_inline bool message_expect(struct message *m, struct event *e)
{
	if (!(m->flags & DESCRIBED) || !m->medium_port || m->media == MEDIA_COUNT)
		return false;
	m->media++;
	if (!(m->flags & (m->flags & MEDIUM_GIVEN ? MEDIUM_OWN : SESSION_OWN)))
		return false;
	e->op = OP_EXPECT;
	e->kind = m->kind;
	e->port = m->medium_port;
	return true;
}

/* Ends a datagram, and with it the message. */
static __always_inline bool message_finish(struct message *m, const struct speaker *who, struct event *e)
{
	return m->flags & IN_BODY ? message_expect(m, e) : message_meaning(m, who, e);
}

/* Does one of the actions that are about messages; true if it completes an
 * event. A global function, which is verified once. */
__noinline int message_understand(struct registers *r, struct speaker *who, struct event *e, __u32 action)
{
	bool spoilt, own = false, valid = false, event;
	struct message *m;
	__u32 value;

	if (!r || !who || !e)
		return 0;
	spoilt = r->spoilt;
	value = r->value;
	m = &r->message;
	if (action >= ACTION_ADDRESS_OCTET)
		valid = message_complete(r, who, action, &own);
	forget_line(r);
	switch (action) {
	case ACTION_REQUEST_LINE:
		m->is = IS_REQUEST;
		break;
	case ACTION_RESPONSE_LINE:
		m->is = IS_RESPONSE;
		break;
	case ACTION_INVITE:
	case ACTION_UPDATE:
	case ACTION_ACK:
	case ACTION_PRACK:
	case ACTION_BYE:
	case ACTION_REGISTER:
		if (!m->method)
			m->method = action;
		break;
	case ACTION_STATUS:
		m->status = value < 0xffff ? value : 0xffff;
		break;
	case ACTION_SEQUENCE:
		if (!(m->flags & HAS_SEQUENCE))
			m->sequence = value;
		m->flags |= HAS_SEQUENCE;
		break;
	case ACTION_LENGTH:
		if (!(m->flags & HAS_LENGTH))
			m->length = value;
		m->flags |= HAS_LENGTH;
		break;
	case ACTION_EXPIRES:
		if (!(m->flags & HAS_EXPIRES))
			m->expires = value;
		m->flags |= HAS_EXPIRES;
		break;
	case ACTION_URI:
	case ACTION_USER:
	case ACTION_CONTACT_PORT:
	case ACTION_CONTACT_EXPIRES:
	case ACTION_TRANSPORT:
	case ACTION_UDP:
	case ACTION_TCP:
		message_contact(m, who, action, value, spoilt);
		break;
	case ACTION_HEADERS:
		return message_headers(r, who, e);
	case ACTION_MEDIUM:
		event = message_expect(m, e);
		m->kind = 0;
		m->medium_port = 0;
		m->flags &= ~(MEDIUM_GIVEN | MEDIUM_OWN);
		m->flags |= HAS_MEDIUM;
		return event;
	case ACTION_AUDIO:
	case ACTION_VIDEO:
	case ACTION_IMAGE:
		m->kind = KIND_AUDIO + action - ACTION_AUDIO;
		break;
	case ACTION_FINISH:
		return message_finish(m, who, e);
	case ACTION_MEDIUM_PORT:
		if (!spoilt && value >= LOWEST_PORT)
			m->medium_port = value;
		break;
	default:
		if (valid)
			message_address(m, own);
	}
	return false;
}

#endif
