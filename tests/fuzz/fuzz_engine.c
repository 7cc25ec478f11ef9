/* SPDX-License-Identifier: MIT */
/*
 * The whole engine between a guest, a host and a clock that do whatever the input says: engine_open() to engine_close(), with all
 * services and translators, the dispatcher, reassembly, listeners and address mapping. The link and the sockets are the fakes of the unit
 * tests, as are loop and time; chance is fixed. The input is a program: frames of the guest, well-made ones with bytes changed or none
 * that is, and what happens to the sockets.
 *
 * What goes to the guest must be whole: lengths, checksums, a source that is ours and no loopback. Nothing may spin, and in the end no
 * descriptor is left.
 */
#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "base/log.h"
#include "conf/opt.h"
#include "core/engine.h"
#include "fake_stream.h"
#include "link/stream.h"
#include "net.h"
#include "os/rlimit.h"
#include "service_target.h"
#include "tcp/conn.h"
#include "wire/eth.h"
#include "wire/ip.h"
#include "stream_event.h"

#define OPS_MAX 300
#define TURNS_MAX 500
#define FRAME_MAX 4096u
#define BATCH_MAX 6u
#define SENT_MAX 64u /* datagrams that the host remembers */
#define TIME_END (UINT64_C(100000) * NSEC_PER_SEC) /* more than a day, if it is all idle */
#define HOST_BYTES_MAX (1u << 19) /* that one connection gets */

#define CHECK(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

static struct fuzz {
	struct engine e;
	struct conf conf;
	struct fake_link fl;
	bool takes_all; /* the guest always has room */
	struct rd r;
	int signal_fd;
	uint8_t bytes[BATCH_MAX][FRAME_MAX];
	struct iovec iov[BATCH_MAX][2];
	struct frame frame[BATCH_MAX];
	unsigned n;
} z;

static const int errs[] = { EAGAIN, ECONNRESET, EPIPE,      ENOMEM, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT,
			    EINTR,  EMFILE,     EADDRINUSE, EACCES, EMSGSIZE,     ENOBUFS,      EPERM,       EPROTO };

static const uint8_t guest_mac[MAC_LEN] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static const uint8_t group_mac[MAC_LEN] = { 0x33, 0x33, 0, 0, 0, 1 };

#define A6(first, second, last) ((struct addr){ .b = { first, second, 0x0d, 0xb8, [15] = last } })

static const struct addr addrs4[] = {
	ADDR4_INIT(198, 51, 100, 7), ADDR4_INIT(192, 0, 2, 2),   ADDR4_INIT(192, 0, 2, 1),       ADDR4_INIT(203, 0, 113, 9),
	ADDR4_INIT(192, 0, 2, 77),   ADDR4_INIT(224, 0, 0, 251), ADDR4_INIT(255, 255, 255, 255), ADDR4_INIT(127, 0, 0, 1),
	ADDR4_INIT(0, 0, 0, 0),      ADDR4_INIT(192, 0, 2, 53),
};
static const struct addr addrs6[] = {
	A6(0x20, 1, 7),
	A6(0x20, 1, 2),
	A6(0x20, 1, 1),
	A6(0x20, 1, 9),
	{ .b = { 0xfe, 0x80, [15] = 2 } },
	{ .b = { 0xff, 0x02, [15] = 0xfb } },
	{ .b = { 0xff, 0x02, [15] = 1 } },
	{ .b = { [15] = 1 } },
	{ .b = { 0 } },
	{ .b = { 0xfe, 0x80, [15] = 1 } },
};
static const uint16_t ports[] = { 5000, 53, 67, 68, 80, 546, 547, 853, 8080, 1000, 1001, 0, 65535, 5353, 123, 443 };

/* --- what the engine takes from outside, beside the fakes --- */

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	memset(buf, 0x5a, len);
	return (ssize_t)len;
}

/* Nothing ever comes by it. */
int signalfd(int fd, const sigset_t *mask, int flags)
{
	struct fake_fd *f = fake_fd_alloc(AF_INET, SOCK_STREAM, 0);

	CHECK(f);
	fake_stream_open(f);
	CHECK(!sock_listen(f->fd, 1));
	z.signal_fd = f->fd;
	return f->fd;
}

uint64_t rlimit_nofile_want(uint64_t want)
{
	return 300;
}

int stream_new(struct loop *loop, const struct stream_conf *c, struct link **ret_link)
{
	fake_link_init(&z.fl);
	fake_link_room(&z.fl, FAKE_LINK_FRAMES);
	z.takes_all = true;
	z.fl.link.cb = c->cb;
	z.fl.link.up = false;
	*ret_link = &z.fl.link;
	return 0;
}

int stream_start(struct link *l)
{
	l->up = true;
	l->cb.up(l->cb.ctx);
	return 0;
}

static void sink(void *ctx, enum log_level level, const char *line)
{
	for (; *line; line++)
		CHECK((unsigned char)*line >= ' ');
}

/* --- frames to the guest --- */

static void check_ip(const struct fake_frame *f, const struct pkt *p)
{
	const uint8_t *l4 = f->bytes + p->l4;
	bool pseudo = p->proto != PROTO_ICMP;
	size_t mtu_min = p->family == 4 ? 576 : 1280; /* that messages of our own count on */

	CHECK(p->l4 + p->l4_len == f->len || f->len == 60);
	CHECK(!addr_is_loopback(&p->src));
	CHECK(f->gso_type || (size_t)p->l4 - ETH_HLEN + p->l4_len <= MAX(z.fl.link.mtu, mtu_min));
	if (p->family == 4)
		CHECK(!net_csum(NULL, NULL, 0, f->bytes + ETH_HLEN, IP4_HLEN));
	if (p->frag || f->csum_start)
		return;
	CHECK(!net_csum(pseudo ? &p->src : NULL, pseudo ? &p->dst : NULL, pseudo ? p->proto : 0, l4, p->l4_len));
}

static void check_frame(const struct fake_frame *f)
{
	struct pkt p = { .head_len = (uint16_t)MIN(f->len, (size_t)PKT_HEAD_MAX) };

	memcpy(p.head, f->bytes, p.head_len);
	CHECK(!pkt_parse(&p, f->len));
	CHECK(!memcmp(p.src_mac, z.conf.guest.our_mac, MAC_LEN));
	CHECK(p.family || p.ethertype == ETHERTYPE_ARP);
	if (p.family)
		check_ip(f, &p);
}

/* A guest that takes all has room for what the link can keep, each turn. True: frames waited for that. */
static bool drain(void)
{
	bool full = !z.fl.room && z.takes_all;

	for (size_t i = 0; i < z.fl.frames; i++)
		check_frame(fake_link_frame(&z.fl, i));
	fake_link_clear(&z.fl);
	if (z.takes_all)
		fake_link_room(&z.fl, FAKE_LINK_FRAMES);
	if (full)
		z.fl.link.cb.tx_ready(z.fl.link.cb.ctx);
	return full;
}

static void settle(void)
{
	bool more;
	unsigned n = 0;

	do {
		CHECK(n++ < TURNS_MAX);
		CHECK(!loop_turn(&z.e.loop));
		more = drain();
	} while (more || fake_os.dispatched || !timers_next(&z.e.loop.timers, fake_os.now_ns));
}

/* --- frames of the guest --- */

static struct addr take_addr(bool v4)
{
	uint8_t i = rd_u8(&z.r);

	if (v4)
		return i < 0xf0 ? addrs4[i % ARRAY_SIZE(addrs4)] : addr_from4(&(uint32_t){ rd_be32(&z.r) });
	return addrs6[i % ARRAY_SIZE(addrs6)];
}

static uint16_t take_port(void)
{
	uint8_t i = rd_u8(&z.r);

	return i < 0xf0 ? ports[i % ARRAY_SIZE(ports)] : rd_be16(&z.r);
}

/* From the input, or as long as it says if there is not so much of it left. */
static size_t take_payload(struct wr *w)
{
	uint16_t want = rd_be16(&z.r);
	size_t n = want & 0x8000 ? want & 0x7ff : want & 0x3f, have;

	n = MIN(n, wr_left(w));
	have = n & 1 ? 0 : MIN(n, rd_left(&z.r));
	wr_bytes(w, rd_bytes(&z.r, have), have);
	wr_zero(w, n - have);
	return n;
}

/* The frame in the first len bytes of its place joins the batch, in two pieces. */
static void frame_add(size_t len)
{
	size_t head = MIN(len, (size_t)37);
	struct frame *f = &z.frame[z.n];

	z.iov[z.n][0] = (struct iovec){ z.bytes[z.n], head };
	z.iov[z.n][1] = (struct iovec){ z.bytes[z.n] + head, len - head };
	*f = (struct frame){ .iov = z.iov[z.n], .n = len > head ? 2 : 1, .len = len };
	z.n++;
}

/* Some bytes of it become others. */
static void frame_spoil(size_t len)
{
	uint8_t n = rd_u8(&z.r);

	for (n = n & 0x80 ? n % 4 : 0; n; n--) {
		uint8_t at = rd_u8(&z.r), with = rd_u8(&z.r);

		if (at < len)
			z.bytes[z.n][at] ^= with;
	}
}

struct pair {
	struct ep src, dst;
	bool v4;
};

static struct pair take_pair(void)
{
	struct pair p = { .v4 = rd_u8(&z.r) & 1 };

	p.src.addr = take_addr(p.v4);
	if (!addr_is_linklocal(&p.src.addr) && !addr_is_any(&p.src.addr))
		p.src.addr = p.v4 ? addrs4[1] : addrs6[1]; /* most of the time, who it is */
	p.dst.addr = take_addr(p.v4);
	p.src.port = take_port();
	p.dst.port = take_port();
	return p;
}

static void frame_ip(const struct pair *p, uint8_t proto, const uint8_t *l4, size_t len)
{
	uint8_t how = rd_u8(&z.r), ttl = how & 0x40 ? rd_u8(&z.r) : 64;
	struct ip_tx ip = {
		.src = p->src.addr, .dst = p->dst.addr, .proto = proto, .ttl = ttl, .tos = how & 0x3f, .may_frag = how & 0x80
	};
	struct wr w = wr_init(z.bytes[z.n], FRAME_MAX);

	if (proto == PROTO_ICMP6 && !(how & 0x40))
		ip.ttl = 255;
	eth_put(&w, how & 0x80 ? group_mac : z.conf.guest.our_mac, guest_mac, p->v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(&w, &ip, len);
	wr_bytes(&w, l4, len);
	frame_spoil(wr_len(&w));
	frame_add(wr_len(&w));
}

static void frame_udp(void)
{
	struct pair p = take_pair();
	uint8_t l4[FRAME_MAX - 100], gso = rd_u8(&z.r);
	struct wr w = wr_init(l4, sizeof(l4)), body = wr_init(l4 + 8, sizeof(l4) - 8);
	size_t len = 8 + take_payload(&body);

	wr_be16(&w, p.src.port);
	wr_be16(&w, p.dst.port);
	wr_be16(&w, (uint16_t)len);
	wr_be16(&w, 0);
	frame_ip(&p, PROTO_UDP, l4, len);
	if (gso & 0x80) {
		z.frame[z.n - 1].gso_type = GSO_UDP;
		z.frame[z.n - 1].gso_size = (uint16_t)(1 + (gso & 0x7f) * 4);
	}
}

static struct tcp_conn *conn_of(const struct pair *p)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &p->src.addr, p->src.port, &p->dst.addr, p->dst.port);
	struct flow *f = flow_find(z.e.flows, &key);

	return f ? container_of(f, struct tcp_conn, f) : NULL;
}

static struct tcp_hdr take_tcp(const struct pair *p)
{
	const struct tcp_conn *k = conn_of(p);
	uint8_t opts = rd_u8(&z.r);
	struct tcp_hdr h = { .sport = p->src.port, .dport = p->dst.port };

	h.flags = rd_u8(&z.r);
	h.window = rd_be16(&z.r);
	h.seq = (uint32_t)(int8_t)rd_u8(&z.r);
	h.ack = (uint32_t)(int8_t)rd_u8(&z.r);
	h.mss = opts & 1 ? (uint16_t)(opts * 11) : 0;
	h.has_wscale = opts & 2;
	h.wscale = opts >> 4;
	h.has_ts = opts & 4;
	h.sack_ok = opts & 8;
	if (!k)
		return h;
	h.seq += k->rcv.nxt;
	h.ack += opts & 0x20 ? k->snd.una : k->snd.nxt;
	h.has_ts = k->ts.on;
	h.ts_val = k->ts.recent + (opts & 0x10);
	h.ts_ecr = tcp_ts_now(&k->ts, fake_os.now_ns);
	if (opts & 0x40) {
		h.n_sack = 1;
		h.sack[0] = (struct tcp_sack){ h.ack + opts, h.ack + 2u * opts };
	}
	return h;
}

static void frame_tcp(void)
{
	struct pair p = take_pair();
	struct tcp_hdr h = take_tcp(&p);
	uint8_t l4[FRAME_MAX - 100];
	struct wr w = wr_init(l4, sizeof(l4));

	tcp_hdr_put(&w, &h);
	(void)take_payload(&w);
	frame_ip(&p, PROTO_TCP, l4, wr_len(&w));
}

/* Echo requests, other messages, neighbour discovery. */
static void frame_icmp(void)
{
	static const uint8_t types6[] = { 128, 133, 135, 136, 134, 1, 2, 137, 129, 143 };
	struct pair p = take_pair();
	uint8_t what = rd_u8(&z.r), l4[FRAME_MAX - 100];
	struct wr w = wr_init(l4, sizeof(l4));

	wr_u8(&w, p.v4 ? (what & 0xf0 ? 8 : what) : types6[what % ARRAY_SIZE(types6)]);
	wr_u8(&w, what == 0xff ? 1 : 0);
	wr_be16(&w, 0);
	wr_be16(&w, p.src.port);
	wr_be16(&w, p.dst.port);
	(void)take_payload(&w);
	frame_ip(&p, p.v4 ? PROTO_ICMP : PROTO_ICMP6, l4, wr_len(&w));
}

/* A piece of a datagram, whatever its place says. */
static void frame_fragment(void)
{
	struct pair p = take_pair();
	uint8_t proto = rd_u8(&z.r) & 1 ? PROTO_UDP : rd_u8(&z.r), id = rd_u8(&z.r) & 3, l4[FRAME_MAX - 100];
	uint16_t place = rd_be16(&z.r);
	struct wr w = wr_init(l4, sizeof(l4));
	unsigned at = z.n;

	if (!p.v4) {
		wr_u8(&w, proto);
		wr_u8(&w, 0);
		wr_be16(&w, place);
		wr_be32(&w, id);
	}
	if (!(place & (p.v4 ? 0x1fff : 0xfff8))) {
		wr_be16(&w, p.src.port);
		wr_be16(&w, p.dst.port);
		wr_be16(&w, rd_be16(&z.r));
		wr_be16(&w, 0);
	}
	(void)take_payload(&w);
	frame_ip(&p, p.v4 ? proto : 44, l4, wr_len(&w));
	if (p.v4) {
		z.bytes[at][ETH_HLEN + 5] = id;
		kit_set16(z.bytes[at] + ETH_HLEN + 6, place);
	}
}

/* What services want, made to reach them; or anything. */
static void frame_raw(void)
{
	static const uint16_t types[] = { ETHERTYPE_ARP, ETHERTYPE_IP4, ETHERTYPE_IP6, 0x8100 };
	uint8_t kind = rd_u8(&z.r), proto = kind & 0x40 ? PROTO_ICMP6 : PROTO_UDP;
	struct wr w = wr_init(z.bytes[z.n], FRAME_MAX);

	(void)take_payload(&w);
	if (!(kind & 0x80))
		target_fix(z.bytes[z.n], wr_len(&w), types[kind % ARRAY_SIZE(types)], proto);
	frame_add(wr_len(&w));
}

static void op_frames(void)
{
	static void (*const kinds[])(void) = { frame_udp, frame_tcp, frame_icmp, frame_fragment, frame_raw, frame_tcp };
	uint8_t n = rd_u8(&z.r);

	z.n = 0;
	for (unsigned i = 0; i < 1u + n % BATCH_MAX; i++)
		kinds[rd_u8(&z.r) % ARRAY_SIZE(kinds)]();
	z.fl.link.rx_queue = n >> 6;
	z.fl.link.stats.rx_frames += z.n;
	z.e.loop.now_ns = fake_os.now_ns;
	z.fl.link.cb.rx(z.fl.link.cb.ctx, z.frame, z.n);
	z.fl.link.rx_queue = 0;
}

/* --- what happens to sockets --- */

/* One of those of a kind, as the next byte chooses; NULL if there is none. */
static struct fake_fd *choose(enum fake_kind kind)
{
	unsigned n = 0, i = rd_u8(&z.r);
	struct fake_fd *some[FAKE_FDS];

	for (unsigned k = 0; k < FAKE_FDS; k++) {
		struct fake_fd *f = &fake_os.fd[k];

		if (f->kind == kind && f->fd != z.signal_fd)
			some[n++] = f;
	}
	return n ? some[i % n] : NULL;
}

static struct ep take_ep(bool v4)
{
	struct ep e = { .addr = take_addr(v4) };

	e.port = take_port();
	return e;
}

/* A socket for both families hears of each in its own addresses. */
static void arrive(const struct fake_fd *f, const struct ep *from, const void *data, size_t len)
{
	bool v4 = addr_is4(&from->addr);
	struct ep to = f->local;

	if (v4 != addr_is4(&to.addr))
		to.addr = v4 ? addrs4[1] : addrs6[1];
	fake_dgram_push(f->fd, from, &to, data, len);
}

static void op_datagram(void)
{
	static uint8_t data[65535];
	struct fake_fd *f = choose(FAKE_DGRAM);
	uint8_t how = rd_u8(&z.r);
	uint16_t len = rd_be16(&z.r);
	struct ep from;
	bool v4;

	if (!f || f->proto == PROTO_ICMP || f->proto == PROTO_ICMP6)
		return;
	v4 = f->family == AF_INET || (how & 1 && !fake_opt(f, IPPROTO_IPV6, IPV6_V6ONLY, 1));
	from = f->connected ? f->peer : take_ep(v4);
	len = how & 2 ? len : len % 1500;
	if (how & 4 && len && addr_is4(&from.addr) == addr_is4(&f->local.addr))
		fake_dgram_push_super(f->fd, &from, data, len, (uint16_t)(1 + len / (1 + how % 64)));
	else
		arrive(f, &from, data, len);
	if (how & 8)
		fake_dgram_hops(f->fd, how, (uint8_t)(how << 1));
}

/* The last datagram comes back, to the socket that it came from; of an echo request, the reply. */
static void op_answer(void)
{
	uint8_t how = rd_u8(&z.r), msg[2048];
	const struct fake_dgram *d = fake_os.n_sent ? fake_sent(fake_os.n_sent - 1) : NULL;
	const struct fake_fd *f = d ? &fake_os.fd[d->fd - FAKE_FD_BASE] : NULL;
	struct ep from;

	if (!f || f->kind != FAKE_DGRAM || d->len > sizeof(msg))
		return;
	from = how & 1 && f->connected ? f->peer : d->to;
	memcpy(msg, d->data, d->len);
	if (f->proto != PROTO_UDP && d->len >= 8) {
		msg[0] = f->family == AF_INET ? 0 : 129;
		kit_set16(msg + 4, f->local.port);
	}
	arrive(f, &from, msg, how & 2 ? d->len / 2 : d->len);
	for (unsigned i = how >> 4; i; i--)
		arrive(f, &from, msg, d->len);
}

static void op_error(void)
{
	static const uint8_t origins[] = { SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, SO_EE_ORIGIN_LOCAL, SO_EE_ORIGIN_TIMESTAMPING };
	struct fake_fd *f = choose(FAKE_DGRAM);
	uint8_t how = rd_u8(&z.r), quote[64] = { 0 };
	uint8_t type = rd_u8(&z.r), code = rd_u8(&z.r);
	struct sock_err e = { .err = errs[code % ARRAY_SIZE(errs)], .type = type, .code = code >> 4 };
	size_t n = MIN((size_t)rd_u8(&z.r) % sizeof(quote), rd_left(&z.r));

	if (!f)
		return;
	if (how & 0x40) {
		/* What the kernel knows of the path, and of its devices. */
		f->pmtu = 500;
		f->seg_max = how & 1 ? 100 : 0;
		f->seg_err = how & 2 ? EIO : 0;
		fake_opt_set(f, f->family == AF_INET ? SOL_IP : SOL_IPV6, f->family == AF_INET ? IP_MTU : IPV6_MTU, 528);
	}
	rd_copy(&z.r, quote, n);
	e.origin = how & 0x80 ? origins[how % ARRAY_SIZE(origins)] : f->family == AF_INET ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	e.info = e.code * 11u;
	e.ttl = how & 4 ? e.type : 0;
	e.has_from = how & 8;
	e.from = take_addr(f->family == AF_INET);
	e.dst = f->peer;
	fake_dgram_error(f->fd, &e, quote, n);
}

static void op_stream(void)
{
	static const uint8_t data[65536];
	struct fake_fd *f = choose(FAKE_STREAM);
	uint8_t what = rd_u8(&z.r);
	uint16_t n = rd_be16(&z.r);
	struct fake_stream *s = f ? f->stream : NULL;

	if (!s || s->state == FAKE_S_NEW)
		return;
	if (s->state == FAKE_S_CONNECTING && !(what & 0x80))
		fake_stream_connected(s);
	else if (s->state == FAKE_S_CONNECTING)
		fake_stream_fail(s, errs[1 + what % (ARRAY_SIZE(errs) - 1)]);
	else if (s->state == FAKE_S_LISTEN)
		(void)fake_stream_arrive(f->fd, &(struct ep){ take_addr(f->family == AF_INET || what & 1), n });
	else if (!stream_event(s, what, n) && !s->fin_in && s->in_total < HOST_BYTES_MAX)
		fake_stream_push(s, data, n);
}

/* --- time, the link, failures --- */

static void op_time(void)
{
	uint8_t what = rd_u8(&z.r);
	uint64_t end = fake_os.now_ns + ((uint64_t)(what & 15) << (what >> 4)) * 100 * NSEC_PER_MSEC;

	settle();
	end = MIN(end, TIME_END);
	while (fake_os.now_ns < end) {
		fake_os.now_ns += MIN(timers_next(&z.e.loop.timers, fake_os.now_ns), end - fake_os.now_ns);
		settle();
	}
}

static void op_link(void)
{
	struct link *l = &z.fl.link;
	uint8_t what = rd_u8(&z.r);

	z.takes_all = what & 1;
	fake_link_room(&z.fl, z.takes_all ? FAKE_LINK_FRAMES - z.fl.frames : what >> 2);
	if (z.takes_all) {
		l->cb.tx_ready(l->cb.ctx);
	} else if (what & 2) {
		l->up = !l->up;
		(l->up ? l->cb.up : l->cb.down)(l->cb.ctx);
	}
}

static void op_fail(void)
{
	static const enum fake_call calls[] = {
		FAKE_OPEN,      FAKE_SETOPT,    FAKE_BIND,     FAKE_LINGER,   FAKE_CONNECT,  FAKE_ACCEPT,
		FAKE_SHUTDOWN,  FAKE_SEND,      FAKE_SENDMMSG, FAKE_RECVMMSG, FAKE_ERRQUEUE, FAKE_RECV,
		FAKE_EPOLL_ADD, FAKE_EPOLL_MOD, FAKE_SNDMEM,   FAKE_DISCARD,
	};
	uint8_t what = rd_u8(&z.r), which = rd_u8(&z.r);

	fake_fail(calls[what % ARRAY_SIZE(calls)], -1, errs[which % ARRAY_SIZE(errs)], what >> 6, 1);
}

/* --- a life --- */

static void op(void)
{
	static void (*const ops[])(void) = {
		op_frames, op_datagram, op_answer, op_error, op_stream, op_time, op_link, op_fail, op_frames, op_stream,
	};

	if (fake_os.n_sent > SENT_MAX)
		fake_sent_clear();
	ops[rd_u8(&z.r) % ARRAY_SIZE(ops)]();
	settle();
}

static void rules_set(struct conf *c)
{
	static const char *const spec[2] = { "8080:80,2222", "5353:53,5000-5001" };
	char err[FWD_ERR_LEN];

	for (unsigned i = 0; i < 2; i++) {
		struct fwd_ctx ctx = { .opt = "-t", .proto = i ? PROTO_UDP : PROTO_TCP, .v4 = c->v4, .v6 = c->v6 };

		CHECK(!fwd_parse(&ctx, spec[i], &c->in, err));
	}
}

static void conf_set(struct conf *c, uint8_t how)
{
	memset(c, 0, sizeof(*c));
	c->guest = target_conf(how & 0x3c);
	c->fd = 3;
	c->passed.guest = c->passed.control = -1;
	c->socket_type = SOCK_STREAM;
	c->v4 = c->v6 = c->tcp = c->udp = c->icmp = true;
	c->nat.v4.our = c->nat.v4.map_loopback = addrs4[2];
	c->nat.v6.our = c->nat.v6.map_loopback = addrs6[2];
	c->nat.v4.host = c->nat.v4.guest = addrs4[1];
	c->nat.v6.host = c->nat.v6.guest = addrs6[1];
	c->nat.v4.dns_forward = addrs4[9];
	c->nat.v4.dns_host = (struct addr)ADDR4_INIT(127, 0, 0, 53);
	c->nat.our_ll6 = c->guest.our_ll6;
	c->out.addr4 = addr_any4;
	c->out.scope6 = 3;
	c->limits = (struct conf_limits){ .spill = OPTS_SPILL, .reassembly = OPTS_REASSEMBLY };
	rules_set(c);
}

/* Of the link, and of the host's kernel. */
static void surroundings_set(uint8_t how)
{
	struct link *l = &z.fl.link;

	z.fl.piece = 700;
	l->mtu = l->max_body = z.conf.mtu;
	l->lossy = how & 4;
	if (how & 8) {
		l->offloads = LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO;
		l->max_body = 65535;
	}
	fake_os.peek_off_err = how & 16 ? ENOPROTOOPT : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint16_t mtu[] = { 1500, 65520, 1280, 68 };
	uint8_t how, around;

	setenv("CMOCKA_TEST_ABORT", "1", 1);
	log_set_sink(sink, NULL);
	z.r = rd_init(data, len);
	fake_os_init();
	how = rd_u8(&z.r);
	around = rd_u8(&z.r);
	log_set_level(how & 0x40 ? LOG_LVL_TRACE : LOG_LVL_INFO);
	conf_set(&z.conf, how);
	z.conf.mtu = z.conf.guest.mtu = mtu[around & 3];
	CHECK(!engine_open(&z.e, &z.conf, NULL));
	CHECK(!engine_start(&z.e, getpid(), NULL));
	surroundings_set(around);
	for (unsigned i = 0; i < OPS_MAX && rd_left(&z.r); i++)
		op();
	z.takes_all = true;
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		fake_os.fail[i].times = 0;
	settle();
	engine_close(&z.e);
	fake_os_fini();
	return 0;
}
