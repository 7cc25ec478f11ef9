/* SPDX-License-Identifier: MIT */
#include "wire/dhcp6.h"

#include <errno.h>

#define DUID_LEN_MIN 3 /* type, and at least one byte (RFC 8415 11.1) */
#define DUID_LEN_MAX 130
#define IA_HLEN 12
#define IA_TA_HLEN 4
#define IAADDR_HLEN 24

#define DUID_LL 3
#define HTYPE_ETHER 1

int dhcp6_opt_next(struct rd *r, struct dhcp6_opt *ret_opt)
{
	struct dhcp6_opt o = { .code = rd_be16(r) };

	o.body = rd_sub(r, rd_be16(r));
	if (!rd_ok(r))
		return -EBADMSG;
	*ret_opt = o;
	return 0;
}

static void take_client_id(struct dhcp6_msg *m, struct rd *r)
{
	m->client_id = *r;
}

static void take_server_id(struct dhcp6_msg *m, struct rd *r)
{
	m->server_id = *r;
}

static void take_ia(struct dhcp6_msg *m, struct rd *r)
{
	m->has_ia = true;
}

static void take_oro(struct dhcp6_msg *m, struct rd *r)
{
	m->has_oro = true;
	m->oro = *r;
}

static void take_rapid_commit(struct dhcp6_msg *m, struct rd *r)
{
	m->rapid_commit = true;
}

static void take_fqdn(struct dhcp6_msg *m, struct rd *r)
{
	m->has_fqdn = true;
	m->fqdn_flags = rd_u8(r);
}

/* The options that we look at, with the lengths that they may have, which are a multiple of unit. */
static const struct opt_rule {
	uint16_t code, min, max, unit;
	void (*take)(struct dhcp6_msg *m, struct rd *r);
} opt_rules[] = {
	{ DHCP6_OPT_CLIENTID, DUID_LEN_MIN, DUID_LEN_MAX, 1, take_client_id },
	{ DHCP6_OPT_SERVERID, DUID_LEN_MIN, DUID_LEN_MAX, 1, take_server_id },
	{ DHCP6_OPT_IA_NA, IA_HLEN, UINT16_MAX, 1, take_ia },
	{ DHCP6_OPT_IA_TA, IA_TA_HLEN, UINT16_MAX, 1, take_ia },
	{ DHCP6_OPT_ORO, 0, UINT16_MAX, 2, take_oro },
	{ DHCP6_OPT_RAPID_COMMIT, 0, 0, 1, take_rapid_commit },
	{ DHCP6_OPT_IA_PD, IA_HLEN, UINT16_MAX, 1, take_ia },
	{ DHCP6_OPT_FQDN, 1, UINT16_MAX, 1, take_fqdn },
};

static int opt_take(struct dhcp6_msg *m, const struct dhcp6_opt *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(opt_rules); i++) {
		const struct opt_rule *u = &opt_rules[i];
		struct rd body = o->body;

		if (u->code != o->code)
			continue;
		if (body.len < u->min || body.len > u->max || body.len % u->unit)
			return -EBADMSG;
		u->take(m, &body);
	}
	return 0;
}

int dhcp6_read(struct rd *r, struct dhcp6_msg *ret_msg)
{
	struct dhcp6_msg m = { .type = rd_u8(r) };
	struct rd walk;
	uint32_t hi = rd_u8(r);

	m.xid = hi << 16 | rd_be16(r);
	m.opts = rd_sub(r, rd_left(r));
	if (!rd_ok(r))
		return -EBADMSG;
	walk = m.opts;
	while (rd_left(&walk)) {
		struct dhcp6_opt o;

		if (dhcp6_opt_next(&walk, &o) || opt_take(&m, &o))
			return -EBADMSG;
	}
	*ret_msg = m;
	return 0;
}

int dhcp6_ia_next(struct rd *opts, struct dhcp6_ia *ret_ia)
{
	struct dhcp6_opt o;

	while (rd_left(opts) && !dhcp6_opt_next(opts, &o)) {
		struct dhcp6_ia ia = { .code = o.code };

		if (o.code != DHCP6_OPT_IA_NA && o.code != DHCP6_OPT_IA_TA && o.code != DHCP6_OPT_IA_PD)
			continue;
		ia.iaid = rd_be32(&o.body);
		if (o.code != DHCP6_OPT_IA_TA)
			rd_skip(&o.body, IA_HLEN - IA_TA_HLEN);
		ia.opts = rd_sub(&o.body, rd_left(&o.body));
		*ret_ia = ia;
		return 0;
	}
	return -ENOENT;
}

int dhcp6_ia_addr_next(struct rd *opts, struct addr *ret_addr)
{
	while (rd_left(opts)) {
		struct dhcp6_opt o;

		if (dhcp6_opt_next(opts, &o))
			return -EBADMSG;
		if (o.code != DHCP6_OPT_IAADDR)
			continue;
		if (o.body.len < IAADDR_HLEN)
			return -EBADMSG;
		*ret_addr = addr_from6(rd_bytes(&o.body, 16));
		return 0;
	}
	return rd_ok(opts) ? -ENOENT : -EBADMSG;
}

bool dhcp6_oro_has(const struct dhcp6_msg *m, uint16_t code)
{
	struct rd r = m->oro;

	while (m->has_oro && rd_left(&r)) {
		if (rd_be16(&r) == code)
			return true;
	}
	return false;
}

void dhcp6_hdr_put(struct wr *w, uint8_t type, uint32_t xid)
{
	wr_u8(w, type);
	wr_u8(w, (uint8_t)(xid >> 16));
	wr_be16(w, (uint16_t)xid);
}

void dhcp6_opt_put(struct wr *w, uint16_t code, const void *body, size_t len)
{
	wr_be16(w, code);
	wr_be16(w, (uint16_t)len);
	wr_bytes(w, body, len);
}

size_t dhcp6_opt_begin(struct wr *w, uint16_t code)
{
	wr_be16(w, code);
	return wr_reserve(w, 2);
}

void dhcp6_opt_end(struct wr *w, size_t at)
{
	if (wr_ok(w))
		wr_patch_be16(w, at, (uint16_t)(wr_len(w) - at - 2));
}

void dhcp6_ia_put(struct wr *w, const struct dhcp6_ia *ia, uint32_t t1_t2)
{
	wr_be32(w, ia->iaid);
	if (ia->code == DHCP6_OPT_IA_TA)
		return;
	wr_be32(w, t1_t2);
	wr_be32(w, t1_t2);
}

void dhcp6_iaaddr_put(struct wr *w, const struct addr *a, uint32_t lifetime)
{
	wr_be16(w, DHCP6_OPT_IAADDR);
	wr_be16(w, IAADDR_HLEN);
	wr_bytes(w, a->b, sizeof(a->b));
	wr_be32(w, lifetime); /* preferred */
	wr_be32(w, lifetime); /* valid */
}

void dhcp6_status_put(struct wr *w, enum dhcp6_status status)
{
	wr_be16(w, DHCP6_OPT_STATUS);
	wr_be16(w, 2);
	wr_be16(w, (uint16_t)status);
}

void dhcp6_duid_ll_put(struct wr *w, const uint8_t mac[MAC_LEN])
{
	wr_be16(w, DUID_LL);
	wr_be16(w, HTYPE_ETHER);
	wr_bytes(w, mac, MAC_LEN);
}
