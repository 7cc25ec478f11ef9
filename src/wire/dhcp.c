/* SPDX-License-Identifier: MIT */
#include "wire/dhcp.h"

#include <errno.h>

#define DHCP_COOKIE UINT32_C(0x63825363)
#define DHCP_SNAME_LEN 64
#define DHCP_FILE_LEN 128

#define OVERLOAD_FILE 1
#define OVERLOAD_SNAME 2

static struct addr ip4_read(struct rd *r)
{
	uint8_t b[4];

	rd_copy(r, b, sizeof(b));
	return addr_from4(b);
}

static void take_requested(struct dhcp_msg *m, struct rd *r)
{
	m->requested = ip4_read(r);
	m->has_requested = true;
}

static void take_overload(struct dhcp_msg *m, struct rd *r)
{
	m->overload = rd_u8(r);
}

static void take_type(struct dhcp_msg *m, struct rd *r)
{
	m->type = rd_u8(r);
}

static void take_server(struct dhcp_msg *m, struct rd *r)
{
	m->server = ip4_read(r);
	m->has_server = true;
}

static void take_params(struct dhcp_msg *m, struct rd *r)
{
	m->has_params = true;
	while (rd_left(r) && m->n_params < sizeof(m->params))
		m->params[m->n_params++] = rd_u8(r);
}

static void take_max_size(struct dhcp_msg *m, struct rd *r)
{
	m->max_size = rd_be16(r);
}

static void take_client_id(struct dhcp_msg *m, struct rd *r)
{
	m->client_id = *r;
}

static void take_rapid_commit(struct dhcp_msg *m, struct rd *r)
{
	m->rapid_commit = true;
}

static void take_fqdn(struct dhcp_msg *m, struct rd *r)
{
	m->fqdn_flags = rd_u8(r);
	m->has_fqdn = true;
}

/* The options that we look at, and the lengths that they may have. */
static const struct opt_rule {
	uint8_t code, min, max;
	void (*take)(struct dhcp_msg *m, struct rd *r);
} opt_rules[] = {
	{ DHCP_OPT_REQUESTED, 4, 4, take_requested },
	{ DHCP_OPT_OVERLOAD, 1, 1, take_overload },
	{ DHCP_OPT_TYPE, 1, 1, take_type },
	{ DHCP_OPT_SERVER, 4, 4, take_server },
	{ DHCP_OPT_PARAMS, 1, DHCP_OPT_LEN_MAX, take_params },
	{ DHCP_OPT_MAX_SIZE, 2, 2, take_max_size },
	{ DHCP_OPT_CLIENT_ID, 2, DHCP_OPT_LEN_MAX, take_client_id },
	{ DHCP_OPT_RAPID_COMMIT, 0, 0, take_rapid_commit },
	{ DHCP_OPT_FQDN, 3, DHCP_OPT_LEN_MAX, take_fqdn },
};

static int opt_take(struct dhcp_msg *m, uint8_t code, struct rd body)
{
	for (size_t i = 0; i < ARRAY_SIZE(opt_rules); i++) {
		const struct opt_rule *u = &opt_rules[i];

		if (u->code != code)
			continue;
		if (body.len < u->min || body.len > u->max)
			return -EBADMSG;
		u->take(m, &body);
	}
	return 0;
}

/* One field of options: up to its end marker, or to the end of the field, which some clients leave without one. */
static int opts_read(struct rd r, struct dhcp_msg *m)
{
	while (rd_left(&r)) {
		uint8_t code = rd_u8(&r);
		struct rd body;
		int err;

		if (code == DHCP_OPT_PAD)
			continue;
		if (code == DHCP_OPT_END)
			return 0;
		body = rd_sub(&r, rd_u8(&r));
		if (!rd_ok(&r))
			return -EBADMSG;
		err = opt_take(m, code, body);
		if (err)
			return err;
	}
	return 0;
}

static void hdr_read(struct rd *r, struct dhcp_hdr *h)
{
	h->op = rd_u8(r);
	h->htype = rd_u8(r);
	h->hlen = rd_u8(r);
	rd_skip(r, 1); /* hops */
	h->xid = rd_be32(r);
	rd_skip(r, 2); /* secs */
	h->flags = rd_be16(r);
	h->ciaddr = ip4_read(r);
	h->yiaddr = ip4_read(r);
	rd_skip(r, 4); /* siaddr */
	h->giaddr = ip4_read(r);
	rd_copy(r, h->chaddr, sizeof(h->chaddr));
}

int dhcp_read(struct rd *r, struct dhcp_msg *ret_msg)
{
	struct dhcp_msg m = { .type = DHCP_BOOTP };
	struct rd sname, file;
	int err;

	hdr_read(r, &m.h);
	sname = rd_sub(r, DHCP_SNAME_LEN);
	file = rd_sub(r, DHCP_FILE_LEN);
	if (!rd_ok(r))
		return -EBADMSG;
	if (rd_left(r) >= 4 && rd_be32(r) == DHCP_COOKIE) {
		uint8_t overload;

		err = opts_read(*r, &m);
		overload = m.overload;
		if (!err && overload & OVERLOAD_FILE)
			err = opts_read(file, &m);
		if (!err && overload & OVERLOAD_SNAME)
			err = opts_read(sname, &m);
		if (err)
			return err;
	}
	*ret_msg = m;
	return 0;
}

void dhcp_hdr_put(struct wr *w, const struct dhcp_hdr *h)
{
	wr_u8(w, h->op);
	wr_u8(w, h->htype);
	wr_u8(w, h->hlen);
	wr_u8(w, 0); /* hops */
	wr_be32(w, h->xid);
	wr_be16(w, 0); /* secs */
	wr_be16(w, h->flags);
	wr_bytes(w, addr_bytes(&h->ciaddr), 4);
	wr_bytes(w, addr_bytes(&h->yiaddr), 4);
	wr_be32(w, 0); /* siaddr */
	wr_bytes(w, addr_bytes(&h->giaddr), 4);
	wr_bytes(w, h->chaddr, sizeof(h->chaddr));
	wr_zero(w, DHCP_SNAME_LEN + DHCP_FILE_LEN);
	wr_be32(w, DHCP_COOKIE);
}

void dhcp_opt_put(struct wr *w, uint8_t code, const void *body, size_t len)
{
	if (len > DHCP_OPT_LEN_MAX) {
		wr_fail(w);
		return;
	}
	wr_u8(w, code);
	wr_u8(w, (uint8_t)len);
	wr_bytes(w, body, len);
}

size_t dhcp_opt_long_len(size_t len)
{
	size_t parts = MAX((len + DHCP_OPT_LEN_MAX - 1) / DHCP_OPT_LEN_MAX, (size_t)1);

	return len + 2 * parts;
}

void dhcp_opt_long_put(struct wr *w, uint8_t code, const void *body, size_t len)
{
	struct rd r = rd_init(body, len);

	do {
		size_t part = MIN(rd_left(&r), (size_t)DHCP_OPT_LEN_MAX);

		dhcp_opt_put(w, code, rd_bytes(&r, part), part);
	} while (rd_left(&r));
}
