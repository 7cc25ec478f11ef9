/* SPDX-License-Identifier: MIT */
#include "net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "wire/eth.h"
#include "wire/ip.h"

#define A6(x) ((struct addr){ .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = (x) } })
#define LL6(x) ((struct addr){ .b = { 0xfe, 0x80, [15] = (x) } })

const struct net_family net_families[2] = {
	{ .v4 = true,
	  .name = "IPv4",
	  .guest = ADDR4_INIT(192, 0, 2, 10),
	  .our = ADDR4_INIT(192, 0, 2, 1),
	  .loopback = ADDR4_INIT(127, 0, 0, 1),
	  .peer = ADDR4_INIT(198, 51, 100, 7),
	  .peer2 = ADDR4_INIT(203, 0, 113, 9),
	  .router = ADDR4_INIT(10, 9, 8, 7),
	  .group = ADDR4_INIT(239, 255, 255, 250) },
	{ .v4 = false,
	  .name = "IPv6",
	  .guest = A6(0x10),
	  .our = A6(1),
	  .loopback = { .b = { [15] = 1 } },
	  .peer = A6(0x77),
	  .peer2 = A6(0x99),
	  .router = A6(0xfe),
	  .group = { .b = { 0xff, 0x05, [15] = 0x0c } } },
};

static const uint8_t guest_mac[MAC_LEN] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t our_mac[MAC_LEN] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };

struct ep net_ep(const struct addr *a, uint16_t port)
{
	return (struct ep){ .addr = *a, .port = port };
}

void net_init(struct net *n, uint32_t flows, size_t slot_size)
{
	const struct hash_key key = { { 1, 2 } };

	memset(n, 0, sizeof(*n));
	fake_os_init();
	fake_link_init(&n->fl);
	n->fl.piece = 100;
	assert_int_equal(loop_init(&n->loop), 0);
	n->flows = flow_table_new(flows, slot_size, &key);
	assert_non_null(n->flows);
	memcpy(n->guest.mac, guest_mac, MAC_LEN);
	memcpy(n->guest.our_mac, our_mac, MAC_LEN);
	n->guest.addr4 = net_families[0].guest;
	n->guest.addr6 = net_families[1].guest;
	n->guest.ll6 = LL6(0x10);
	n->nat.v4.our = n->nat.v4.map_loopback = net_families[0].our;
	n->nat.v6.our = n->nat.v6.map_loopback = net_families[1].our;
	n->nat.v4.host = net_families[0].guest;
	n->nat.v6.host = net_families[1].guest;
	n->nat.our_ll6 = LL6(1);
	n->out.addr4 = addr_any4;
	n->out.scope6 = 3;
	n->out.ttl4 = n->out.ttl6 = IP_TTL_DEFAULT;
}

void net_fini(struct net *n)
{
	flow_table_free(n->flows);
	loop_fini(&n->loop);
	fake_link_fini(&n->fl);
	fake_os_fini();
}

uint16_t net_csum(const struct addr *src, const struct addr *dst, uint8_t proto, const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; proto && i < 16; i += 2) {
		/* The mapped prefix of IPv4 addresses is not on the wire. */
		if (addr_is4(src) && i < 12)
			continue;
		sum += (uint32_t)(src->b[i] << 8 | src->b[i + 1]);
		sum += (uint32_t)(dst->b[i] << 8 | dst->b[i + 1]);
	}
	if (proto)
		sum += proto + (uint32_t)len;
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void gframe_put(struct gframe *g, const struct ip_tx *ip, const void *l4, size_t l4_len, const struct gopt *o)
{
	struct wr w = wr_init(g->bytes, sizeof(g->bytes));
	size_t done = 0, len;

	eth_put(&w, our_mac, guest_mac, addr_is4(&ip->src) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(&w, ip, l4_len);
	wr_bytes(&w, l4, l4_len);
	wr_zero(&w, o->pad);
	len = wr_len(&w);
	assert_int_not_equal(len, 0);
	g->f = (struct frame){ .iov = g->iov, .len = len };
	while (done < len && g->f.n < ARRAY_SIZE(g->iov)) {
		size_t n = g->f.n == ARRAY_SIZE(g->iov) - 1 ? len - done : MIN(len - done, (size_t)13 + 10 * g->f.n);

		g->iov[g->f.n++] = (struct iovec){ g->bytes + done, n };
		done += n;
	}
	memset(&g->p, 0, sizeof(g->p));
	g->p.head_len = (uint16_t)MIN(len, (size_t)PKT_HEAD_MAX);
	memcpy(g->p.head, g->bytes, g->p.head_len);
	assert_int_equal(pkt_parse(&g->p, len), 0);
	if (o->gso) {
		g->f.gso_type = GSO_UDP;
		g->f.gso_size = o->gso;
	}
}

void net_udp(struct gframe *g, const struct ep *src, const struct ep *dst, const void *payload, size_t len, const struct gopt *o)
{
	static const struct gopt none;
	static uint8_t l4[65536 + 64];
	struct wr w = wr_init(l4, sizeof(l4));
	size_t udp_len = o && o->udp_len ? (size_t)o->udp_len : len + 8;
	struct ip_tx ip = { .src = src->addr, .dst = dst->addr, .proto = 17, .ttl = 64 };

	o = o ? o : &none;
	if (o->ttl)
		ip.ttl = o->ttl;
	ip.tos = o->tos;
	wr_be16(&w, src->port);
	wr_be16(&w, dst->port);
	wr_be16(&w, (uint16_t)udp_len);
	wr_be16(&w, 0xbad1); /* L4 checksums of the guest may be partial */
	wr_bytes(&w, payload, len);
	gframe_put(g, &ip, l4, wr_len(&w), o);
}

void net_echo(struct gframe *g, const struct gecho *e, const void *payload, size_t len, const struct gopt *o)
{
	static const struct gopt none;
	static uint8_t l4[65536 + 64];
	struct wr w = wr_init(l4, sizeof(l4));
	bool v4 = addr_is4(e->src);
	struct ip_tx ip = { .src = *e->src, .dst = *e->dst, .proto = v4 ? 1 : 58, .ttl = 64 };

	o = o ? o : &none;
	if (o->ttl)
		ip.ttl = o->ttl;
	ip.tos = o->tos;
	wr_u8(&w, v4 ? 8 : 128);
	wr_u8(&w, 0);
	wr_be16(&w, 0xbad2);
	wr_be16(&w, e->id);
	wr_be16(&w, e->seq);
	wr_bytes(&w, payload, len);
	gframe_put(g, &ip, l4, wr_len(&w), o);
}

static void seen_ip4(struct seen *s, struct rd *r, bool strict)
{
	const uint8_t *start = r->p + r->pos;
	uint16_t total, frag;

	assert_int_equal(rd_u8(r), 0x45);
	s->tos = rd_u8(r);
	total = rd_be16(r);
	s->id = rd_be16(r);
	frag = rd_be16(r);
	s->ttl = rd_u8(r);
	s->proto = rd_u8(r);
	rd_skip(r, 2);
	s->src = addr_from4(rd_bytes(r, 4));
	s->dst = addr_from4(rd_bytes(r, 4));
	assert_int_equal(net_csum(NULL, NULL, 0, start, 20), 0);
	s->df = frag & 0x4000;
	s->more = frag & 0x2000;
	s->off = (frag & 0x1fff) * 8u;
	s->frag = s->more || s->off;
	if (strict)
		assert_int_equal(total, 20 + rd_left(r));
}

static void seen_ip6(struct seen *s, struct rd *r, bool strict)
{
	uint32_t first = rd_be32(r);
	uint16_t payload = rd_be16(r), frag;

	assert_int_equal(first >> 28, 6);
	s->tos = (uint8_t)(first >> 20);
	s->proto = rd_u8(r);
	s->ttl = rd_u8(r);
	s->src = addr_from6(rd_bytes(r, 16));
	s->dst = addr_from6(rd_bytes(r, 16));
	if (strict)
		assert_int_equal(payload, rd_left(r));
	if (s->proto != 44)
		return;
	s->frag = true;
	s->proto = rd_u8(r);
	assert_int_equal(rd_u8(r), 0);
	frag = rd_be16(r);
	assert_int_equal(frag & 6, 0);
	s->more = frag & 1;
	s->off = frag & 0xfff8;
	s->id = rd_be32(r);
}

static void seen_l4(struct seen *s, bool strict, bool partial)
{
	struct rd r = rd_init(s->l4, s->l4_len);

	if (s->proto == 17) {
		uint16_t len;

		s->sport = rd_be16(&r);
		s->dport = rd_be16(&r);
		len = rd_be16(&r);
		assert_true(rd_be16(&r) || !strict);
		if (strict)
			assert_int_equal(len, s->l4_len);
		if (strict && !partial)
			assert_int_equal(net_csum(&s->src, &s->dst, 17, s->l4, s->l4_len), 0);
	} else {
		assert_true(s->proto == (s->v4 ? 1 : 58));
		s->type = rd_u8(&r);
		s->code = rd_u8(&r);
		rd_skip(&r, 2);
		s->info = rd_be32(&r);
		s->echo_id = (uint16_t)(s->info >> 16);
		s->seq = (uint16_t)s->info;
		if (strict)
			assert_int_equal(net_csum(&s->src, &s->dst, s->v4 ? 0 : 58, s->l4, s->l4_len), 0);
	}
	assert_true(rd_ok(&r));
	s->len = rd_left(&r);
	s->body = s->len ? rd_bytes(&r, s->len) : NULL;
}

static void seen_ip(struct seen *s, struct rd *r, bool strict)
{
	s->v4 = r->p[r->pos] >> 4 == 4;
	if (s->v4)
		seen_ip4(s, r, strict);
	else
		seen_ip6(s, r, strict);
	assert_true(rd_ok(r));
	s->l4_len = rd_left(r);
	s->l4 = rd_bytes(r, s->l4_len);
}

static void seen_frame(const struct net *n, size_t i, struct seen *s)
{
	const struct fake_frame *f = fake_link_frame(&n->fl, i);
	struct rd r = rd_init(f->bytes, f->len);

	s->v4 = s->frag = s->more = s->df = false;
	s->off = 0;
	s->id = 0;
	assert_memory_equal(rd_bytes(&r, MAC_LEN), guest_mac, MAC_LEN);
	assert_memory_equal(rd_bytes(&r, MAC_LEN), our_mac, MAC_LEN);
	assert_int_equal(rd_be16(&r), f->bytes[14] >> 4 == 4 ? 0x0800 : 0x86dd);
	assert_true(rd_left(&r) <= (f->gso_type ? n->fl.link.max_body : n->fl.link.mtu));
	seen_ip(s, &r, true);
	if (f->csum_start)
		assert_ptr_equal(f->bytes + f->csum_start, s->l4);
}

void net_seen(const struct net *n, size_t i, struct seen *ret_s)
{
	seen_frame(n, i, ret_s);
	assert_false(ret_s->frag);
	/* Without DF an identification must be unique; with it, it may be anything (RFC 6864 4.1). */
	assert_true(ret_s->df || !ret_s->v4);
	seen_l4(ret_s, true, fake_link_frame(&n->fl, i)->csum_start);
}

size_t net_seen_frags(const struct net *n, size_t i, struct seen *ret_s)
{
	size_t len = 0, count = 0;
	uint32_t id = 0;

	do {
		seen_frame(n, i + count, ret_s);
		assert_true(ret_s->frag);
		assert_false(ret_s->df);
		assert_int_equal(ret_s->off, len);
		if (count)
			assert_int_equal(ret_s->id, id);
		if (ret_s->more)
			assert_int_equal(ret_s->l4_len % 8, 0);
		id = ret_s->id;
		assert_true(len + ret_s->l4_len <= sizeof(ret_s->whole));
		memcpy(ret_s->whole + len, ret_s->l4, ret_s->l4_len);
		len += ret_s->l4_len;
		count++;
	} while (ret_s->more);
	assert_true(count > 1);
	ret_s->l4 = ret_s->whole;
	ret_s->l4_len = len;
	seen_l4(ret_s, true, false);
	return count;
}

void net_seen_quote(const struct seen *err, struct seen *ret_s)
{
	struct rd r = rd_init(err->body, err->len);

	seen_ip(ret_s, &r, false);
	seen_l4(ret_s, false, false);
}
