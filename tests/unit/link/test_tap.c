/* SPDX-License-Identifier: MIT */
/* The tap link over a socket pair that keeps frames apart, as a tap does; and over a real tap device, where we may make one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/csum.h"
#include "base/iov.h"
#include "base/wr.h"
#include "link/tap.h"
#include "link_world.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define SEEN_MAX 4096
#define BIG (65535 + 14)
#define OFF_ALL (LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO)

struct seen {
	size_t len;
	uint8_t gso_type;
	uint16_t gso_size;
	uint8_t head[64];
	uint8_t last;
};

struct fix {
	struct link_world w; /* the peer is the kernel's end of the tap */
	struct seen seen[SEEN_MAX];
	unsigned n;
	uint8_t buf[BIG + 64];
};

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct fix *x = container_of(w, struct fix, w);
	struct seen *s = &x->seen[x->n++];

	assert_true(x->n < SEEN_MAX);
	*s = (struct seen){ .len = f->len, .gso_type = f->gso_type, .gso_size = f->gso_size };
	iov_copy_out(f->iov, f->n, 0, s->head, sizeof(s->head));
	iov_copy_out(f->iov, f->n, f->len - 1, &s->last, 1);
}

static void start_fd(struct fix *x, int fd, uint32_t offloads, size_t mtu)
{
	struct tap_conf c = {
		.fd = fd,
		.vnet_hdr = offloads,
		.offloads = offloads,
		.mtu = mtu,
		.cb = link_world_cb(&x->w),
	};

	assert_int_equal(tap_new(&x->w.loop, &c, &x->w.link), 0);
	assert_int_equal(x->w.up, 0);
	assert_int_equal(tap_start(x->w.link), 0);
	assert_int_equal(x->w.up, 1);
	assert_true(x->w.link->up);
}

static void start(struct fix *x, uint32_t offloads, size_t mtu)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
	x->w.peer = sv[1];
	start_fd(x, sv[0], offloads, mtu);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	*state = x;
	return link_world_init(&x->w, on_frame);
}

static int teardown(void **state)
{
	struct fix *x = *state;

	link_world_fini(&x->w);
	free(x);
	return 0;
}

static void body_fill(const struct txframe *f, size_t len, uint8_t with)
{
	for (unsigned i = 0; i < f->n && len; i++) {
		size_t n = MIN(f->body[i].iov_len, len);

		memset(f->body[i].iov_base, with, n);
		len -= n;
	}
	assert_int_equal(len, 0);
}

/* Reserves one frame, fills its body, commits it. */
static bool send_one(struct fix *x, const struct txhdr *h, size_t len, uint8_t with)
{
	struct txframe f;

	if (link_reserve(x->w.link, &f, &(struct txwant){ .n = 1, .hdr = h->len, .len = len }) != 1)
		return false;
	assert_true(f.cap >= len);
	body_fill(&f, len, with);
	link_commit(x->w.link, &f, h, len);
	return true;
}

static ssize_t peer_read(struct fix *x)
{
	return recv(x->w.peer, x->buf, sizeof(x->buf), MSG_DONTWAIT);
}

static void test_conf(void **state)
{
	struct fix *x = *state;

	start(x, OFF_ALL, 1500);
	assert_int_equal(x->w.link->offloads, OFF_ALL);
	assert_int_equal(x->w.link->mtu, 1500);
	assert_int_equal(x->w.link->max_body, 65535);
	x->w.link->ops->free(x->w.link);
	x->w.link = NULL;
	close(x->w.peer);

	x->w.up = 0;
	start(x, 0, 1500);
	assert_int_equal(x->w.link->offloads, 0);
	assert_int_equal(x->w.link->max_body, 1500);
}

/* What the kernel gets: the header in front, byte by byte. */
static void test_tx_headers(void **state)
{
	static const struct {
		struct txhdr h;
		uint8_t flags, type;
		uint16_t hdr_len, size, start, offset;
	} t[] = {
		{ { .len = 54 }, 0, 0, 0, 0, 0, 0 },
		{ { .len = 54, .csum_start = 34, .csum_offset = 16 }, 1, 0, 54, 0, 34, 16 },
		{ { .len = 42, .csum_start = 34, .csum_offset = 6 }, 1, 0, 42, 0, 34, 6 },
		{ { .len = 54, .gso_type = GSO_TCP4, .gso_size = 1460, .csum_start = 34, .csum_offset = 16 },
		  1,
		  1,
		  54,
		  1460,
		  34,
		  16 },
		{ { .len = 74, .gso_type = GSO_TCP6, .gso_size = 1440, .csum_start = 54, .csum_offset = 16 },
		  1,
		  4,
		  74,
		  1440,
		  54,
		  16 },
		{ { .len = 42, .gso_type = GSO_UDP, .gso_size = 500, .csum_start = 34, .csum_offset = 6 }, 1, 5, 42, 500, 34, 6 },
	};
	struct fix *x = *state;
	uint8_t head[74];

	start(x, OFF_ALL, 1500);
	for (unsigned i = 0; i < sizeof(head); i++)
		head[i] = (uint8_t)(0xa0 + i);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct txhdr h = t[i].h;
		size_t len = 4000;
		uint16_t f[4];

		h.bytes = head;
		assert_true(send_one(x, &h, len, 0x5a));
		assert_int_equal(peer_read(x), -1); /* not before the flush */
		link_flush(x->w.link);
		assert_int_equal(peer_read(x), 10 + h.len + len);
		assert_int_equal(x->buf[0], t[i].flags);
		assert_int_equal(x->buf[1], t[i].type);
		memcpy(f, x->buf + 2, sizeof(f));
		assert_int_equal(f[0], t[i].hdr_len);
		assert_int_equal(f[1], t[i].size);
		assert_int_equal(f[2], t[i].start);
		assert_int_equal(f[3], t[i].offset);
		assert_memory_equal(x->buf + 10, head, h.len);
		for (size_t k = 0; k < len; k++)
			assert_int_equal(x->buf[10 + h.len + k], 0x5a);
	}
	assert_int_equal(x->w.link->stats.tx_frames, ARRAY_SIZE(t));
}

static void test_tx_plain(void **state)
{
	struct fix *x = *state;
	uint8_t frame[14] = { 1, 2, 3 };

	start(x, 0, 65520);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	link_flush(x->w.link);
	assert_int_equal(peer_read(x), 60);
	assert_memory_equal(x->buf, frame, sizeof(frame));
	for (unsigned i = sizeof(frame); i < 60; i++)
		assert_int_equal(x->buf[i], 0);
	assert_int_equal(peer_read(x), -1);
}

/* Frames that end short, a reservation that is not used to its end, superframes: all arrive whole and in order. */
static void test_tx_batch(void **state)
{
	struct fix *x = *state;
	uint8_t head[54] = { 0 };
	struct txhdr h = { .bytes = head, .len = sizeof(head) };
	struct txframe f[LINK_BATCH];
	unsigned sent = 0, got = 0;

	start(x, OFF_ALL, 1500);
	for (unsigned round = 0; round < 200; round++) {
		size_t cap = round % 3 ? 1460 : 65535 - 40, len = round % 2 ? cap : 100 + round;
		size_t n = link_reserve(x->w.link, f, &(struct txwant){ .n = LINK_BATCH, .hdr = sizeof(head), .len = cap });

		assert_in_range(n, 9, LINK_BATCH);
		n = MIN(n, (size_t)1 + round % 9);
		for (unsigned i = 0; i < n; i++) {
			memcpy(head, &sent, sizeof(sent));
			body_fill(&f[i], len, (uint8_t)sent);
			link_commit(x->w.link, &f[i], &h, len);
			sent++;
		}
		while (round % 2 && got < sent) {
			ssize_t r = peer_read(x);

			if (r < 0) {
				link_world_turn(&x->w);
				continue;
			}
			assert_memory_equal(x->buf + 10, &got, sizeof(got));
			assert_int_equal(x->buf[64], (uint8_t)got);
			assert_int_equal(x->buf[r - 1], (uint8_t)got++);
		}
	}
	assert_int_equal(sent, got);
	assert_int_equal(x->w.ready, 0);
	assert_int_equal(x->w.link->stats.tx_full, 0);
}

/* The device takes no more: what was committed waits, in order; then the promise of a call is kept, once. */
static void test_tx_full(void **state)
{
	struct fix *x = *state;
	uint8_t head[54] = { 0 };
	struct txhdr h = { .bytes = head, .len = sizeof(head) };
	unsigned sent = 0, got = 0, idle = 0;

	start(x, OFF_ALL, 1500);
	for (unsigned again = 0; again < 3; again++) {
		uint64_t turns;

		for (;; sent++) {
			memcpy(head, &sent, sizeof(sent));
			if (!send_one(x, &h, 9000, (uint8_t)sent))
				break;
		}
		link_flush(x->w.link);
		assert_int_equal(x->w.ready, again);
		/* Nothing to do while the peer reads nothing: no event comes. */
		turns = x->w.link->stats.tx_full;
		link_world_turn(&x->w);
		link_world_turn(&x->w);
		assert_int_equal(x->w.ready, again);
		assert_int_equal(x->w.link->stats.tx_full, turns);

		for (idle = 0; idle < 3;) {
			ssize_t r = peer_read(x);

			if (r < 0) {
				link_world_turn(&x->w);
				idle++;
				continue;
			}
			idle = 0;
			assert_int_equal(r, 10 + 54 + 9000);
			assert_memory_equal(x->buf + 10, &got, sizeof(got));
			assert_int_equal(x->buf[r - 1], (uint8_t)got);
			got++;
		}
		assert_int_equal(sent, got);
		assert_int_equal(x->w.ready, again + 1);
	}
	assert_true(sent > 600); /* more than the queue alone holds */
}

/* tx_ready() is only owed after a reservation that got nothing. */
static void test_tx_wait_unasked(void **state)
{
	struct fix *x = *state;
	uint8_t head[54] = { 0 };
	struct txhdr h = { .bytes = head, .len = sizeof(head) };
	unsigned got = 0;

	start(x, 0, 9100);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(send_one(x, &h, 9000, 1));
		link_flush(x->w.link);
	}
	for (unsigned i = 0; i < 300; i++) {
		if (peer_read(x) >= 0)
			got++;
		else
			link_world_turn(&x->w);
	}
	assert_int_equal(got, 100);
	assert_int_equal(x->w.ready, 0);
}

static void peer_send(struct fix *x, const struct virtio_net_hdr *v, size_t len, uint8_t fill)
{
	size_t at = 0;

	if (v) {
		memcpy(x->buf, v, sizeof(*v));
		at = sizeof(*v);
	}
	memset(x->buf + at, fill, len);
	while (send(x->w.peer, x->buf, at + len, MSG_DONTWAIT) < 0) {
		assert_int_equal(errno, EAGAIN);
		link_world_turn(&x->w);
	}
}

static void test_rx_headers(void **state)
{
	static const struct {
		struct virtio_net_hdr v;
		uint8_t type;
		bool ok;
	} t[] = {
		{ { 0 }, GSO_NONE, true },
		{ { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 }, GSO_NONE, true },
		{ { .flags = VIRTIO_NET_HDR_F_DATA_VALID }, GSO_NONE, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448 }, GSO_TCP4, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, .gso_size = 1448 }, GSO_TCP4, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 1428 }, GSO_TCP6, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN, .gso_size = 1 }, GSO_TCP6, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4, .gso_size = 65535 }, GSO_UDP, true },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1448 }, 0, false },
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0 }, 0, false },
		{ { .gso_type = 2, .gso_size = 5 }, 0, false },
	};
	struct fix *x = *state;
	unsigned good = 0, bad = 0;

	start(x, OFF_ALL, 1500);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		peer_send(x, &t[i].v, 6000 + i, (uint8_t)i);
		link_world_turn(&x->w);
		if (!t[i].ok) {
			bad++;
			continue;
		}
		assert_int_equal(x->n, ++good);
		assert_int_equal(x->seen[good - 1].len, 6000 + i);
		assert_int_equal(x->seen[good - 1].gso_type, t[i].type);
		assert_int_equal(x->seen[good - 1].gso_size, t[i].v.gso_size);
		assert_int_equal(x->seen[good - 1].head[0], i);
		assert_int_equal(x->seen[good - 1].last, i);
	}
	assert_int_equal(x->w.link->stats.rx_bad, bad);
	assert_int_equal(x->n, good);

	/* Too short for the headers; shortest and longest. */
	peer_send(x, NULL, 5, 0);
	peer_send(x, NULL, 10, 0);
	peer_send(x, NULL, 23, 0);
	peer_send(x, NULL, 24, 0);
	peer_send(x, &t[3].v, BIG, 7);
	link_world_turn(&x->w);
	assert_int_equal(x->w.link->stats.rx_bad, bad + 3);
	assert_int_equal(x->n, good + 2);
	assert_int_equal(x->seen[good].len, 14);
	assert_int_equal(x->seen[good + 1].len, BIG);
	assert_int_equal(x->seen[good + 1].last, 7);
}

/* Small frames come in full batches, large ones in what the area holds; bad ones between them don't shift the others. */
static void test_rx_batches(void **state)
{
	struct fix *x = *state;

	start(x, 0, 65520);
	for (unsigned i = 0; i < 150; i++)
		peer_send(x, NULL, i % 10 == 5 ? 13 : 60 + i, (uint8_t)i); /* all fit the socket's buffer */
	link_world_turn(&x->w);
	assert_int_equal(x->w.rx_calls, 1); /* no more than one batch in a turn */
	assert_int_equal(x->n, LINK_BATCH - 6);
	link_world_turn(&x->w);
	link_world_turn(&x->w);
	assert_int_equal(x->n, 135);
	assert_int_equal(x->w.link->stats.rx_bad, 15);
	for (unsigned i = 0, k = 0; i < 150; i++) {
		if (i % 10 == 5)
			continue;
		assert_int_equal(x->seen[k].len, 60 + i);
		assert_int_equal(x->seen[k].head[0], i);
		assert_int_equal(x->seen[k++].last, i);
	}

	x->n = 0;
	for (unsigned i = 0; i < 50; i++)
		peer_send(x, NULL, BIG - i, (uint8_t)(i + 1));
	for (unsigned i = 0; i < 4; i++)
		link_world_turn(&x->w);
	assert_int_equal(x->n, 50);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(x->seen[i].len, BIG - i);
		assert_int_equal(x->seen[i].head[0], i + 1);
		assert_int_equal(x->seen[i].last, i + 1);
	}
}

static void test_gone(void **state)
{
	struct fix *x = *state;
	struct txframe f;

	start(x, OFF_ALL, 1500);
	peer_send(x, &(struct virtio_net_hdr){ 0 }, 100, 1);
	close(x->w.peer);
	x->w.peer = -1;
	link_world_turn(&x->w);
	link_world_turn(&x->w);
	assert_int_equal(x->n, 1); /* what came before the end is not lost */
	assert_int_equal(x->w.gone, 1);
	assert_int_equal(x->w.down, 0);
	assert_false(x->w.link->up);
	assert_int_equal(link_reserve(x->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 100 }), 0);
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 1);
}

static void test_gone_at_write(void **state)
{
	struct fix *x = *state;
	uint8_t frame[60] = { 0 };

	start(x, OFF_ALL, 1500);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	close(x->w.peer);
	x->w.peer = -1;
	signal(SIGPIPE, SIG_IGN);
	link_flush(x->w.link);
	assert_int_equal(x->w.gone, 1);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), -ENOBUFS);
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 1);
}

static void test_reset(void **state)
{
	struct fix *x = *state;
	uint8_t frame[60] = { 0 };

	start(x, 0, 1500);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	x->w.link->ops->reset(x->w.link);
	link_flush(x->w.link);
	assert_int_equal(peer_read(x), -1);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	link_flush(x->w.link);
	assert_int_equal(peer_read(x), 60);
}

/* A tap device in a namespace of our own. Skips the test where that is not allowed. */
static int tap_open(struct ifreq *ifr)
{
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		skip();
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		skip();
	*ifr = (struct ifreq){ .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	if (ioctl(fd, TUNSETIFF, ifr)) {
		close(fd);
		skip();
	}
	return fd;
}

static void in_addr_set(struct sockaddr *sa, uint32_t addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr) };

	memcpy(sa, &sin, sizeof(sin));
}

/* The interface gets 10.0.0.1/24, and 10.0.0.2 the MAC address 02:00:00:00:00:02. Returns its own. */
static void tap_up(int s, struct ifreq *ifr, uint8_t mac[6])
{
	struct arpreq arp = { .arp_flags = ATF_COM | ATF_PERM };

	in_addr_set(&ifr->ifr_addr, 0x0a000001);
	assert_int_equal(ioctl(s, SIOCSIFADDR, ifr), 0);
	in_addr_set(&ifr->ifr_netmask, 0xffffff00);
	assert_int_equal(ioctl(s, SIOCSIFNETMASK, ifr), 0);
	ifr->ifr_flags = IFF_UP | IFF_RUNNING;
	assert_int_equal(ioctl(s, SIOCSIFFLAGS, ifr), 0);
	assert_int_equal(ioctl(s, SIOCGIFHWADDR, ifr), 0);
	memcpy(mac, ifr->ifr_hwaddr.sa_data, 6);
	in_addr_set(&arp.arp_pa, 0x0a000002);
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, "\2\0\0\0\0\2", 6);
	memcpy(arp.arp_dev, ifr->ifr_name, sizeof(arp.arp_dev));
	assert_int_equal(ioctl(s, SIOCSARP, &arp), 0);
}

/* Ethernet, IPv4 and UDP from 10.0.0.2:1000 to 10.0.0.1:2000; the checksum of UDP is that of the pseudo-header. */
static size_t udp_head(uint8_t *buf, const uint8_t mac[6], size_t payload)
{
	static const uint8_t pairs[] = { 10, 0, 0, 2, 10, 0, 0, 1 };
	struct wr w = wr_init(buf, 42);
	uint32_t sum = 0x0a00 + 2 + 0x0a00 + 1 + 17 + (uint32_t)payload + 8;

	wr_bytes(&w, mac, 6);
	wr_bytes(&w, "\2\0\0\0\0\2", 6);
	wr_be16(&w, 0x0800);
	wr_bytes(&w, "\x45\0", 2);
	wr_be16(&w, (uint16_t)(28 + payload));
	wr_be32(&w, 0x10000); /* identification 1, not a fragment */
	wr_bytes(&w, "\x40\x11", 2);
	wr_be16(&w, 0);
	wr_bytes(&w, pairs, sizeof(pairs));
	wr_patch_be16(&w, 24, csum_fold(csum_add(buf + 14, 20, 0)));
	wr_be16(&w, 1000);
	wr_be16(&w, 2000);
	wr_be16(&w, (uint16_t)(8 + payload));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	wr_be16(&w, (uint16_t)sum);
	assert_true(wr_ok(&w));
	return wr_len(&w);
}

/* Sends one datagram of len bytes, as segments of gso bytes if that is not 0; the kernel delivers all of it. */
static void real_tx(struct fix *x, int s, const uint8_t mac[6], size_t len, uint16_t gso)
{
	uint8_t head[42];
	struct txhdr h = {
		.bytes = head, .gso_size = gso, .csum_start = 34, .csum_offset = 6, .gso_type = gso ? GSO_UDP : GSO_NONE
	};
	size_t got = 0;

	h.len = (uint16_t)udp_head(head, mac, len);
	assert_true(send_one(x, &h, len, 0x77));
	link_flush(x->w.link);
	while (got < len) {
		ssize_t n = recv(s, x->buf, sizeof(x->buf), MSG_DONTWAIT);

		assert_int_equal(n, gso ? MIN(len - got, (size_t)gso) : len);
		assert_int_equal(x->buf[n - 1], 0x77);
		got += (size_t)n;
	}
	assert_int_equal(recv(s, x->buf, sizeof(x->buf), MSG_DONTWAIT), -1);
}

static const struct seen *last_udp(const struct fix *x)
{
	for (unsigned i = x->n; i--;) {
		if (x->seen[i].head[12] == 8 && x->seen[i].head[23] == 17)
			return &x->seen[i];
	}
	fail();
	return NULL;
}

static void test_real(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(2000) };
	struct fix *x = *state;
	struct ifreq ifr;
	uint8_t mac[6], frame[60] = { 0 };
	int fd = tap_open(&ifr), s = socket(AF_INET, SOCK_DGRAM, 0);
	bool uso = !ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | 0x20 | 0x40);

	if (!uso)
		assert_int_equal(ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN), 0);
	start_fd(x, fd, uso ? OFF_ALL : OFF_ALL & ~LINK_OFF_USO, 1500);

	/* The interface is down: frames go nowhere, and that is no error. */
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
	link_flush(x->w.link);
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 0);

	tap_up(s, &ifr, mac);
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	real_tx(x, s, mac, 1000, 0);
	real_tx(x, s, mac, 1472, 0);
	if (uso)
		real_tx(x, s, mac, 40001, 1400);

	at.sin_addr.s_addr = htonl(0x0a000002);
	assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof(at)), 0);
	memset(x->buf, 0x31, 30000);
	assert_int_equal(send(s, x->buf, 1000, 0), 1000);
	link_world_turn(&x->w);
	assert_int_equal(last_udp(x)->len, 1042);
	assert_int_equal(last_udp(x)->gso_type, GSO_NONE);
	assert_int_equal(last_udp(x)->last, 0x31);
	if (uso) {
		assert_int_equal(setsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &(int){ 1200 }, sizeof(int)), 0);
		assert_int_equal(send(s, x->buf, 30000, 0), 30000);
		link_world_turn(&x->w);
		assert_int_equal(last_udp(x)->len, 30042);
		assert_int_equal(last_udp(x)->gso_type, GSO_UDP);
		assert_int_equal(last_udp(x)->gso_size, 1200);
	}
	close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_conf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_wait_unasked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rx_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rx_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone_at_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
