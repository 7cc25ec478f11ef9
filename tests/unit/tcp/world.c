/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "wire/be.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"

#define SPIN_MAX 200 /* turns in a row with an event each */
#define FRAME_MAX (65536 + 64)

static const uint8_t guest_mac[MAC_LEN] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t our_mac[MAC_LEN] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };

/* --- contents --- */

void pattern_fill(unsigned dir, uint64_t off, void *buf, size_t len)
{
	uint8_t *b = buf;

	for (size_t i = 0; i < len; i++)
		b[i] = pattern(dir, off + i);
}

void pattern_check(unsigned dir, uint64_t off, const void *buf, size_t len)
{
	const uint8_t *b = buf;

	for (size_t i = 0; i < len; i++) {
		if (b[i] != pattern(dir, off + i))
			fail_msg("byte %zu of the stream is wrong", (size_t)(off + i));
	}
}

void pattern_push(struct fake_stream *s, unsigned dir, size_t len)
{
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	pattern_fill(dir, s->in_total, buf, len);
	fake_stream_push(s, buf, len);
	free(buf);
}

void host_push(struct fake_stream *s, size_t len)
{
	pattern_push(s, DIR_DOWN, len);
}

size_t host_check(const struct fake_stream *s)
{
	pattern_check(DIR_UP, 0, s->out, s->out_len);
	return s->out_len;
}

/* --- surroundings --- */

static void turn_end(void *ctx)
{
	struct world *w = ctx;

	tcp_turn_end(w->t);
	link_flush(&w->fl.link);
}

static void listen_open(struct world *w)
{
	struct ep any = { .addr = w->conf.v6 ? addr_any6 : addr_any4, .port = 8080 };
	int fd, family = w->conf.v6 ? AF_INET6 : AF_INET;

	assert_int_equal(sock_open(family, SOCK_STREAM, IPPROTO_TCP, &fd), 0);
	assert_int_equal(sock_bind(fd, family, &any, 0), 0);
	assert_int_equal(sock_listen(fd, 128), 0);
	w->fwd.rule[0] = (struct fwd_rule){ .addr = any.addr, .first = 8080, .last = 8080, .to = 80, .proto = PROTO_TCP };
	w->fwd.n = 1;
	w->listener = (struct listener){ .fd = fd, .port = 8080, .to = 80, .proto = PROTO_TCP, .v6 = w->conf.v6 };
	listeners_init(&w->ls, &w->fwd);
	w->ls.loop = &w->loop;
	w->ls.owner_tcp = tcp_listen_owner(w->t);
	w->ls.l = &w->listener;
	w->ls.n = 1;
	assert_int_equal(loop_add(&w->loop, fd, ref_init(w->ls.owner_tcp, 0, 0), EPOLLIN), 0);
	tcp_set_listeners(w->t, &w->ls);
}

/* What must not happen, whatever anybody does, is logged as an error. */
static void on_line(void *ctx, enum log_level level, const char *line)
{
	if (level == LOG_LVL_ERR)
		fail_msg("%s", line);
}

void world_init(struct world *w, const struct world_conf *c)
{
	const struct hash_key key = { { 11, 22 } };
	struct tcp_deps d;

	memset(w, 0, sizeof(*w));
	w->conf = *c;
	log_set_sink(on_line, NULL);
	fake_os_init();
	fake_os.peek_off_err = c->peek_off_err;
	fake_link_init(&w->fl);
	w->fl.piece = 700;
	w->fl.link.offloads = c->offloads;
	w->fl.link.lossy = c->lossy;
	if (c->mtu)
		w->fl.link.mtu = w->fl.link.max_body = c->mtu;
	if (c->offloads & (LINK_OFF_TSO4 | LINK_OFF_TSO6))
		w->fl.link.max_body = 65535;
	assert_int_equal(loop_init(&w->loop), 0);
	w->loop.turn_end = turn_end;
	w->loop.turn_ctx = w;
	w->flows = flow_table_new(c->flows ? c->flows : 64, (tcp_slot_size() + 7) & ~(size_t)7, &key);
	assert_non_null(w->flows);
	memcpy(w->guest.mac, guest_mac, MAC_LEN);
	memcpy(w->guest.our_mac, our_mac, MAC_LEN);
	w->guest.addr4 = ADDR4_INIT(10, 0, 2, 15);
	w->guest.addr6 = (struct addr){ .b = { 0xfd, [15] = 0x15 } };
	w->nat.v4.our = w->nat.v4.map_loopback = ADDR4_INIT(10, 0, 2, 2);
	w->nat.v6.our = w->nat.v6.map_loopback = (struct addr){ .b = { 0xfd, [15] = 2 } };
	w->out.addr4 = addr_any4;
	w->out.ttl4 = w->out.ttl6 = IP_TTL_DEFAULT;
	w->g = (struct ep){ .addr = c->v6 ? w->guest.addr6 : w->guest.addr4, .port = 33333 };
	w->r = (struct ep){ .addr = c->v6 ? (struct addr){ .b = { 0x20, 1, 0xd, 0xb8, [15] = 7 } } : ADDR4_INIT(198, 51, 100, 7),
			    .port = 5001 };
	d = (struct tcp_deps){ &w->loop, &w->fl.link, w->flows, &w->guest, &w->nat, &w->out, { { 3, 4 } }, c->stock };
	w->t = tcp_new(&d);
	assert_non_null(w->t);
	w->window = UINT16_MAX;
	w->iss = 1000000;
	if (!c->no_listener)
		listen_open(w);
}

void world_fini(struct world *w)
{
	if (!w->conf.no_listener) {
		sock_close(w->listener.fd);
		timer_cancel(&w->loop.timers, &w->ls.retry);
	}
	assert_int_equal(flow_count(w->flows), 0);
	assert_int_equal(chunk_pool_used(w->t->pool), 0);
	assert_int_equal(w->t->conns, 0);
	assert_true(list_empty(&w->t->acks));
	assert_true(list_empty(&w->t->wait));
	assert_true(list_empty(&w->t->again));
	tcp_free(w->t);
	assert_int_equal(w->loop.timers.armed, 0);
	flow_table_free(w->flows);
	loop_fini(&w->loop);
	fake_link_fini(&w->fl);
	fake_os_fini();
}

size_t world_overhead(const struct world *w)
{
	return (w->conf.v6 ? IP6_HLEN : IP4_HLEN) + TCP_HLEN;
}

struct tcp_conn *world_conn(struct world *w)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &w->g.addr, w->g.port, &w->r.addr, w->r.port);
	struct flow *f = flow_find(w->flows, &key);

	return f ? container_of(f, struct tcp_conn, f) : NULL;
}

static void check_conn(void *ctx, struct flow *f)
{
	const struct tcp_conn *k = container_of(f, struct tcp_conn, f);
	const struct tcp_snd *s = &k->snd;

	assert_int_not_equal(k->state, CONN_FREE);
	assert_true(seq_le(s->una, s->nxt));
	assert_true(seq_le(s->nxt, s->max));
	if (s->board) {
		assert_int_equal(s->nxt, s->max);
		for (uint32_t i = 0; i < s->board->n; i++)
			assert_true(seq_le(i ? s->board->hole[i - 1].to : s->una, s->board->hole[i].from));
	}
	assert_true(k->spill.len <= 2 * TCP_WINDOW_MAX);
	assert_false(k->host_shut && k->spill.len);
	assert_false(k->host_shut && !k->guest_fin);
	if (k->spill.len)
		assert_true(k->out_armed); /* or nothing will empty it */
	if (k->fin_acked)
		assert_true(k->fin_known);
	/* There is always something that will tell the guest what is kept from it. */
	if (k->reflect.mode == TCP_REFLECT_ON && conn_ack_seq(k) != k->rcv.nxt)
		assert_true(timer_armed(&k->silence) || k->overdue);
	if (k->overdue)
		assert_int_equal(k->reflect.acked, conn_accepted(k));
}

void world_turn(struct world *w)
{
	assert_int_equal(loop_turn(&w->loop), 0);
	flow_each(w->flows, check_conn, w);
}

unsigned world_settle(struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SPIN_MAX; i++) {
		world_turn(w);
		n += fake_os.dispatched;
		if (!fake_os.dispatched && timers_next(&w->loop.timers, fake_os.now_ns))
			return n;
	}
	fail_msg("events without end");
	return n;
}

void world_wait(struct world *w, uint64_t ns)
{
	uint64_t end = fake_os.now_ns + ns;

	world_settle(w);
	while (fake_os.now_ns < end) {
		uint64_t next = timers_next(&w->loop.timers, fake_os.now_ns);

		fake_os.now_ns += MIN(next, end - fake_os.now_ns);
		world_settle(w);
	}
}

void world_link_ready(struct world *w, size_t room)
{
	fake_link_room(&w->fl, room);
	tcp_link_ready(w->t);
	turn_end(w);
}

/* --- segments of the guest --- */

/* A frame, cut into pieces of odd sizes. */
struct out_frame {
	struct iovec iov[6];
	uint8_t *bytes;
};

static void frame_make(const struct world *w, const struct gseg *s, struct out_frame *o, struct pkt *p, struct frame *f)
{
	struct tcp_hdr h = s->h;
	struct ip_tx ip = { .src = w->g.addr, .dst = w->r.addr, .proto = PROTO_TCP, .ttl = s->ttl ? s->ttl : 64, .tos = s->tos };
	struct wr wr;
	size_t len, done = 0, pieces = s->pieces ? s->pieces : 4;

	h.sport = h.sport ? h.sport : w->g.port;
	h.dport = h.dport ? h.dport : w->r.port;
	o->bytes = malloc(FRAME_MAX);
	assert_non_null(o->bytes);
	wr = wr_init(o->bytes, FRAME_MAX);
	eth_put(&wr, our_mac, guest_mac, w->conf.v6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
	ip_put(&wr, &ip, tcp_hdr_len(&h) + s->len);
	tcp_hdr_put(&wr, &h);
	wr_bytes(&wr, s->data, s->len);
	assert_true(wr_ok(&wr));
	len = wr_len(&wr);
	*f = (struct frame){ .iov = o->iov, .len = len, .gso_size = s->gso_size };
	if (s->gso_size)
		f->gso_type = w->conf.v6 ? GSO_TCP6 : GSO_TCP4;
	assert_in_range(pieces, 1, ARRAY_SIZE(o->iov));
	while (done < len && f->n < pieces) {
		size_t part = f->n == pieces - 1 ? len - done : MIN(len - done, (size_t)57 + f->n);

		o->iov[f->n++] = (struct iovec){ o->bytes + done, part };
		done += part;
	}
	memset(p, 0, sizeof(*p));
	p->head_len = (uint16_t)MIN(len, (size_t)PKT_HEAD_MAX);
	memcpy(p->head, o->bytes, p->head_len);
	assert_int_equal(pkt_parse(p, len), 0);
}

void world_put(struct world *w, const struct gseg *s, unsigned n)
{
	struct pkt *p = calloc(LINK_BATCH, sizeof(*p));
	struct frame f[LINK_BATCH];
	struct out_frame o[LINK_BATCH];

	assert_non_null(p);
	assert_in_range(n, 1, LINK_BATCH);
	for (unsigned i = 0; i < n; i++)
		frame_make(w, &s[i], &o[i], &p[i], &f[i]);
	w->loop.now_ns = fake_os.now_ns;
	tcp_from_guest(w->t, p, f, n);
	for (unsigned i = 0; i < n; i++)
		free(o[i].bytes);
	free(p);
	flow_each(w->flows, check_conn, w);
	turn_end(w);
}

/* --- packets towards the guest --- */

/* Byte by byte (RFC 1071). */
static uint32_t slow_sum(const uint8_t *b, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint32_t slow_pseudo(const struct seen *s, size_t len)
{
	uint32_t sum =
		slow_sum(addr_bytes(&s->src), addr_len(&s->src), s->proto + (uint32_t)(len >> 16) + (uint32_t)(len & 0xffff));

	return slow_sum(addr_bytes(&s->dst), addr_len(&s->dst), sum);
}

static void len_check(size_t said, size_t there, bool quote)
{
	assert_true(quote ? said >= there : said == there);
}

/* Reads an IP header; what is left in r is the transport header and its payload, in a quote perhaps only the beginning of that. */
static void take_ip(struct rd *r, bool quote, struct addr *ret_src, struct addr *ret_dst, uint8_t *ret_proto)
{
	const uint8_t *start = r->p + r->pos;
	size_t len = rd_left(r);
	uint8_t first = rd_u8(r);

	if (first == 0x45) {
		rd_skip(r, 1);
		len_check(rd_be16(r), len, quote);
		rd_skip(r, 5);
		*ret_proto = rd_u8(r);
		rd_skip(r, 2);
		*ret_src = addr_from4(rd_bytes(r, 4));
		*ret_dst = addr_from4(rd_bytes(r, 4));
		assert_int_equal(slow_sum(start, 20, 0), 0xffff);
		return;
	}
	assert_int_equal(first >> 4, 6);
	rd_skip(r, 3);
	len_check(rd_be16(r) + 40u, len, quote);
	*ret_proto = rd_u8(r);
	rd_skip(r, 1);
	*ret_src = addr_from6(rd_bytes(r, 16));
	*ret_dst = addr_from6(rd_bytes(r, 16));
	assert_true(rd_ok(r));
}

static void take_icmp(struct rd *r, struct seen *s)
{
	uint8_t proto;

	s->icmp_type = rd_u8(r);
	s->icmp_code = rd_u8(r);
	rd_skip(r, 6);
	take_ip(r, true, &s->quoted_src, &s->quoted_dst, &proto);
	assert_int_equal(proto, PROTO_TCP);
	assert_int_equal(tcp_hdr_read(r, &s->quoted), 0);
}

/* Acknowledged is only what the kernel has accepted (DESIGN: acknowledge what is true). */
static void check_ack(struct world *w, const struct seen *s)
{
	uint32_t have;

	if (!w->checked || !(s->h.flags & TCP_ACK) || s->h.sport != w->r.port || s->h.dport != w->g.port)
		return;
	have = w->iss + 1 + (uint32_t)w->s->out_len + w->s->fin_out;
	/* What the guest sent again although it was here. */
	if (world_conn(w) && world_conn(w)->vouched)
		have += world_conn(w)->spill.len;
	assert_true(seq_le(s->h.ack, have));
}

bool world_take(struct world *w, struct seen *ret_s)
{
	const struct fake_frame *f;
	struct rd r, l4;
	size_t len;

	if (w->seen >= w->fl.frames)
		return false;
	f = fake_link_frame(&w->fl, w->seen++);
	r = rd_init(f->bytes, f->len);
	memset(ret_s, 0, sizeof(*ret_s));
	assert_memory_equal(rd_bytes(&r, MAC_LEN), guest_mac, MAC_LEN);
	assert_memory_equal(rd_bytes(&r, MAC_LEN), our_mac, MAC_LEN);
	assert_int_equal(rd_be16(&r), w->conf.v6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
	assert_true(rd_left(&r) <= (f->gso_type ? 65535 : w->fl.link.mtu));
	ret_s->tos = w->conf.v6 ? (uint8_t)(be16_get(r.p + r.pos) >> 4) : r.p[r.pos + 1];
	take_ip(&r, false, &ret_s->src, &ret_s->dst, &ret_s->proto);
	ret_s->gso_size = f->gso_size;
	len = rd_left(&r);
	l4 = r;
	if (!f->csum_start && !(ret_s->proto == PROTO_ICMP))
		assert_int_equal(slow_sum(rd_bytes(&l4, len), len, slow_pseudo(ret_s, len)), 0xffff);
	if (ret_s->proto != PROTO_TCP) {
		assert_int_equal(ret_s->proto, w->conf.v6 ? PROTO_ICMP6 : PROTO_ICMP);
		take_icmp(&r, ret_s);
		return true;
	}
	assert_int_equal(tcp_hdr_read(&r, &ret_s->h), 0);
	ret_s->len = rd_left(&r);
	ret_s->data = rd_bytes(&r, ret_s->len);
	if (f->gso_type)
		assert_true(ret_s->len > f->gso_size && f->csum_start);
	check_ack(w, ret_s);
	return true;
}

void world_clear(struct world *w)
{
	fake_link_clear(&w->fl);
	w->seen = 0;
}
