/* SPDX-License-Identifier: MIT */
/*
 * The TCP translator between a guest, a host and a clock that do whatever the input says. Sockets, loop and link are the fakes of the
 * unit tests, whose checks hold here too: una <= nxt <= max, no data without an armed event, nothing acknowledged that the kernel has
 * not accepted, no event without end; and at the end nothing is left of flows, descriptors, timers or buffers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sim.h"
#include "wire/ip.h"
#include "stream_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define GUEST_PORTS 4
#define TURNS_MAX 500
#define HOST_BYTES_MAX (1u << 20) /* that one host sends */
#define OPS_MAX 400

#define CHECK(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

struct fuzz {
	struct world w;
	struct rd r;
	unsigned listen_port;
};

static const int errs[] = { EAGAIN, ECONNRESET, EPIPE, ENOMEM, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EINTR, EMFILE };

/* Nothing is acknowledged that the kernel has not accepted. */
static void check_conn(void *ctx, struct flow *f)
{
	const struct tcp_conn *k = container_of(f, struct tcp_conn, f);
	const struct fake_stream *s = fake_stream_of(k->fd);
	/* But for what the guest has sent again although it was here. */
	uint32_t have = (uint32_t)s->out_len + k->host_shut + (k->vouched ? k->spill.len : 0);

	(void)ctx;
	if (k->state == CONN_CONNECTING || k->state == CONN_SYN_SENT)
		return;
	CHECK(seq_le(conn_ack_seq(k), k->rcv.irs + 1 + have));
	CHECK(seq_le(k->rcv.adv_ack, k->rcv.irs + 1 + have));
	CHECK(k->snd.una - k->snd.iss <= s->in_total + 2);
	CHECK(k->snd.max - k->snd.iss <= s->in_total + 2);
}

/* What goes to the guest is what the host sent, at its place in the stream. */
static void check_down(struct fuzz *z, const struct seen *s)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &s->dst, s->h.dport, &s->src, s->h.sport);
	struct flow *f = s->proto == PROTO_TCP && s->len ? flow_find(z->w.flows, &key) : NULL;

	if (f)
		pattern_check(DIR_DOWN, s->h.seq - container_of(f, struct tcp_conn, f)->snd.iss - 1, s->data, s->len);
}

static void drain(struct fuzz *z)
{
	struct seen s;

	while (world_take(&z->w, &s))
		check_down(z, &s);
	world_clear(&z->w);
}

/* What the hosts got is what the guest sent. */
static void check_up(void)
{
	for (struct list *l = fake_os.streams.next; l != &fake_os.streams; l = l->next)
		host_check(container_of(l, struct fake_stream, node));
}

static void settle(struct fuzz *z)
{
	unsigned n = 0;

	do {
		CHECK(n++ < TURNS_MAX);
		world_turn(&z->w);
		drain(z);
		flow_each(z->w.flows, check_conn, NULL);
	} while (fake_os.dispatched || !timers_next(&z->w.loop.timers, fake_os.now_ns));
}

/* The connection that the next byte chooses: of the guest's ports the first ones, of the host's the others. */
static struct tcp_conn *choose(struct fuzz *z)
{
	unsigned i = rd_u8(&z->r) % (2 * GUEST_PORTS);

	z->w.g.port = (uint16_t)(i < GUEST_PORTS ? 1000 + i : 80);
	z->w.r.port = (uint16_t)(i < GUEST_PORTS ? 5001 : 40000 + i);
	return world_conn(&z->w);
}

static struct fake_stream *choose_stream(struct fuzz *z)
{
	struct tcp_conn *k = choose(z);

	return k ? fake_stream_of(k->fd) : NULL;
}

static void seg_make(struct fuzz *z, const struct tcp_conn *k, uint8_t *bytes, struct gseg *s)
{
	uint8_t opts = rd_u8(&z->r), sel = rd_u8(&z->r);
	int8_t seq = (int8_t)rd_u8(&z->r), ack = (int8_t)rd_u8(&z->r);

	*s = (struct gseg){ .data = bytes };
	s->h.flags = rd_u8(&z->r);
	s->h.window = rd_be16(&z->r);
	s->len = rd_be16(&z->r) % 4000;
	if (opts & 1)
		s->h.mss = (uint16_t)(opts * 11);
	s->h.has_wscale = opts & 2;
	s->h.wscale = opts >> 4;
	s->h.has_ts = opts & 4;
	s->h.sack_ok = opts & 8;
	s->h.seq = (uint32_t)seq * (sel & 0x40 ? 1000u : 1u);
	s->h.ack = (uint32_t)ack * (sel & 0x80 ? 1000u : 1u);
	if (!k)
		return;
	if (s->h.has_ts) {
		s->h.ts_val = k->ts.recent + (uint32_t)(int8_t)(opts & 0xf0);
		s->h.ts_ecr = tcp_ts_now(&k->ts, fake_os.now_ns) - (opts >> 4);
	}
	s->h.seq += sel & 1 ? tcp_rcv_limit(&k->rcv) : sel & 2 ? k->rcv.irs : k->rcv.nxt;
	s->h.ack += sel & 4 ? k->snd.max : sel & 8 ? k->snd.una : k->snd.nxt;
	for (s->h.n_sack = 0; s->h.n_sack < (sel >> 4 & 3u); s->h.n_sack++) {
		s->h.sack[s->h.n_sack].from = k->snd.una + rd_u8(&z->r) * 100u;
		s->h.sack[s->h.n_sack].to = s->h.sack[s->h.n_sack].from + rd_u8(&z->r) * 10u;
	}
	/* The guest's stream starts behind its SYN. */
	pattern_fill(DIR_UP, s->h.seq - k->rcv.irs - 1, bytes, s->len);
}

static void op_segments(struct fuzz *z)
{
	static uint8_t bytes[4][4000];
	const struct tcp_conn *k = choose(z);
	unsigned n = 1 + rd_u8(&z->r) % 4;
	struct gseg s[4];

	for (unsigned i = 0; i < n; i++)
		seg_make(z, k, bytes[i], &s[i]);
	world_put(&z->w, s, n);
}

/* The usual next segment of a guest that behaves. */
static void op_polite(struct fuzz *z)
{
	static uint8_t bytes[1461];
	const struct tcp_conn *k = choose(z);
	uint8_t what = rd_u8(&z->r);
	struct gseg s = { .data = bytes, .h = { .flags = TCP_ACK, .window = (uint16_t)(what << 8 | 0xff) } };

	s.len = rd_be16(&z->r) % 1461;
	s.ttl = what & 16 ? 3 : 0;
	s.tos = what & 32 ? 0x48 : 0;
	if (!k) {
		s.len = 0;
		s.h = (struct tcp_hdr){
			.flags = TCP_SYN, .seq = what * 0x01010101u, .window = 65535, .mss = 1460, .has_wscale = what & 1
		};
		s.h.sack_ok = what & 4;
		s.h.has_ts = what & 8;
	} else if (k->state == CONN_SYN_SENT) {
		s.len = 0;
		s.h = (struct tcp_hdr){ .flags = TCP_SYN | TCP_ACK, .seq = 77, .ack = k->snd.nxt, .window = 65535, .mss = 1000 };
		s.h.sack_ok = what & 4;
		s.h.has_ts = what & 8;
	} else {
		s.h.seq = k->rcv.nxt;
		s.h.ack = what & 1 ? k->snd.max : k->snd.una;
		s.h.flags |= what & 2 ? TCP_FIN : 0;
		s.h.has_ts = k->ts.on;
		s.h.ts_val = k->ts.recent + (what & 4);
		s.h.ts_ecr = tcp_ts_now(&k->ts, fake_os.now_ns);
		pattern_fill(DIR_UP, s.h.seq - k->rcv.irs - 1, bytes, s.len);
	}
	world_put(&z->w, &s, 1);
}

static void op_host(struct fuzz *z)
{
	struct fake_stream *s = choose_stream(z);
	uint8_t what = rd_u8(&z->r);
	uint16_t n = rd_be16(&z->r);

	if (!s)
		return;
	if (s->state == FAKE_S_CONNECTING && !(what & 0x80))
		fake_stream_connected(s);
	else if (s->state == FAKE_S_CONNECTING)
		fake_stream_fail(s, errs[1 + what % (ARRAY_SIZE(errs) - 1)]);
	else if (!stream_event(s, what, n) && !s->fin_in && s->in_total < HOST_BYTES_MAX)
		host_push(s, n);
}

static void op_arrive(struct fuzz *z)
{
	struct ep peer = z->w.r;

	peer.port = (uint16_t)(40000 + GUEST_PORTS + rd_u8(&z->r) % GUEST_PORTS);
	(void)fake_stream_arrive(z->w.listener.fd, &peer);
}

static void op_time(struct fuzz *z)
{
	uint8_t what = rd_u8(&z->r);
	uint64_t end = fake_os.now_ns + ((uint64_t)(what & 15) << (what >> 4)) * 100 * NSEC_PER_MSEC;

	settle(z);
	while (fake_os.now_ns < end) {
		fake_os.now_ns += MIN(timers_next(&z->w.loop.timers, fake_os.now_ns), end - fake_os.now_ns);
		settle(z);
	}
}

static void op_link(struct fuzz *z)
{
	uint8_t what = rd_u8(&z->r);

	if (what & 1)
		world_link_ready(&z->w, what & 2 ? SIZE_MAX : what);
	else
		fake_link_room(&z->w.fl, what);
}

static void op_fail(struct fuzz *z)
{
	static const enum fake_call calls[] = {
		FAKE_OPEN, FAKE_SETOPT, FAKE_LINGER,  FAKE_CONNECT,   FAKE_ACCEPT,    FAKE_SHUTDOWN,
		FAKE_SEND, FAKE_RECV,   FAKE_DISCARD, FAKE_EPOLL_ADD, FAKE_EPOLL_MOD, FAKE_SNDMEM,
	};
	uint8_t what = rd_u8(&z->r), which = rd_u8(&z->r);

	fake_fail(calls[what % ARRAY_SIZE(calls)], -1, errs[which % ARRAY_SIZE(errs)], 0, 1);
}

static void op(struct fuzz *z)
{
	static void (*const ops[])(struct fuzz *) = {
		op_polite, op_host, op_segments, op_time, op_link, op_arrive, op_fail, op_polite,
	};

	ops[rd_u8(&z->r) % ARRAY_SIZE(ops)](z);
	drain(z);
	settle(z);
}

static void end_flow(void *ctx, struct flow *f)
{
	struct fuzz *z = ctx;

	tcp_flow_abort(z->w.t, f);
	drain(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;
	uint8_t conf;

	setenv("CMOCKA_TEST_ABORT", "1", 1);
	log_set_level(LOG_LVL_ERR);
	z.r = rd_init(data, len);
	conf = rd_u8(&z.r);
	world_init(&z.w, &(struct world_conf){ .v6 = conf & 1,
					       .peek_off_err = conf & 2 ? ENOPROTOOPT : 0,
					       .offloads = conf & 4 ? LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 : 0,
					       .lossy = conf & 32,
					       .mtu = conf & 8 ? 9000 : 0,
					       .rtt_us = conf & 64 ? 20000 : 0,
					       .flows = conf & 16 ? 3 : 0 });
	for (unsigned i = 0; i < OPS_MAX && rd_left(&z.r); i++)
		op(&z);
	fake_link_room(&z.w.fl, SIZE_MAX);
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		fake_os.fail[i].times = 0;
	settle(&z);
	flow_each(z.w.flows, end_flow, &z);
	settle(&z);
	check_up();
	world_fini(&z.w);
	return 0;
}
