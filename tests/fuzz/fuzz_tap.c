/* SPDX-License-Identifier: MIT */
/*
 * The kernel's end of a tap device that says anything, with and without a header for virtio in front of each frame, and takes frames or
 * doesn't; a socket pair that keeps messages apart stands in for the device. What comes out is what went in, but for frames that are too
 * short or whose header is nonsense; what goes to the device has a header that says what it was told.
 */
#include <assert.h>
#include <linux/virtio_net.h>

#include "link/tap.h"
#include "link_target.h"

#define FRAME_MIN 14u
#define FRAME_PAD 60u
#define HEADER 10u /* of virtio 1.2 section 5.1.6, without the last field */
#define UDP_L4 5 /* VIRTIO_NET_HDR_GSO_UDP_L4 */

struct fuzz {
	struct link_target t;
	bool vnet;
	struct link_message sent[LINK_TARGET_MESSAGES];
	unsigned first, end; /* of those that have to come */
	uint8_t to[65536 + 512]; /* what came to the device */
	struct txhdr want[LINK_TARGET_MESSAGES]; /* frames on their way there: what was told of them */
	size_t want_len[LINK_TARGET_MESSAGES];
	unsigned want_first, want_end;
};

/* --- from the device --- */

/* What the header says, in the words of the specification. */
static unsigned gso_of(const struct virtio_net_hdr *h)
{
	switch (h->gso_type & 0x7f) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return GSO_TCP4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return GSO_TCP6;
	case UDP_L4:
		return GSO_UDP;
	default:
		return GSO_NONE;
	}
}

static struct virtio_net_hdr header_of(const struct link_message *m)
{
	struct virtio_net_hdr h;

	memset(&h, m->rest, sizeof(h));
	memcpy(&h, m->head, MIN(m->head_len, sizeof(h)));
	return h;
}

static bool has_to_come(const struct fuzz *z, const struct link_message *m)
{
	struct virtio_net_hdr h = header_of(m);

	if (!z->vnet || m->len < HEADER + FRAME_MIN)
		return !z->vnet && m->len >= FRAME_MIN;
	return (h.gso_type & 0x7f) == VIRTIO_NET_HDR_GSO_NONE || (gso_of(&h) != GSO_NONE && h.gso_size);
}

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	struct fuzz *z = container_of(ctx, struct fuzz, t);

	for (unsigned i = 0; i < n; i++) {
		const struct link_message *m = &z->sent[z->first++];
		struct virtio_net_hdr h = header_of(m);

		assert(z->first <= z->end && link_message_is(m, z->vnet ? HEADER : 0, &f[i]));
		assert(f[i].gso_type == (z->vnet ? gso_of(&h) : GSO_NONE));
		assert(!f[i].gso_type || f[i].gso_size == h.gso_size);
	}
}

static void op_send(struct fuzz *z, struct rd *in)
{
	uint8_t buf[UINT16_MAX];
	struct link_message m = link_message_read(in);

	/* No device gives an empty message, which would be its end. */
	if (!m.len || z->end == LINK_TARGET_MESSAGES || !rd_ok(in))
		return;
	if (link_message_send(&m, z->t.peer, buf) && has_to_come(z, &m))
		z->sent[z->end++] = m;
}

/* --- to the device --- */

static void op_commit(struct fuzz *z, struct rd *in)
{
	static uint8_t bytes[256];
	struct txhdr h = { .bytes = bytes, .len = rd_u8(in) };
	uint8_t what = rd_u8(in);
	size_t room = rd_be16(in), len = rd_be16(in) % (room + 1);
	struct txframe f[2];
	size_t n = link_reserve(z->t.link, f, &(struct txwant){ .n = 1 + (what >> 7), .hdr = h.len, .len = room });

	h.gso_type = z->t.link->offloads ? what & 3 : GSO_NONE;
	h.gso_size = what * 5;
	h.csum_start = what & 4 && z->t.link->offloads ? 14 : 0;
	h.csum_offset = what >> 3;
	if (!n || z->want_end == LINK_TARGET_MESSAGES || !rd_ok(in))
		return;
	for (unsigned i = 0; i < f[0].n; i++)
		memset(f[0].body[i].iov_base, 0x5a, f[0].body[i].iov_len);
	link_commit(z->t.link, &f[0], &h, len);
	z->want[z->want_end] = h;
	z->want_len[z->want_end++] = h.len + len;
}

static void header_check(const struct virtio_net_hdr *v, const struct txhdr *h)
{
	assert(gso_of(v) == h->gso_type && v->gso_size == (h->gso_type ? h->gso_size : 0));
	assert(v->flags == (h->csum_start ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0) && v->csum_start == h->csum_start);
	assert(!h->csum_start || v->csum_offset == h->csum_offset);
}

static void op_take(struct fuzz *z, unsigned n)
{
	size_t front = z->vnet ? HEADER : 0;

	while (n--) {
		ssize_t got = recv(z->t.peer, z->to, sizeof(z->to), MSG_DONTWAIT);
		const struct txhdr *h = &z->want[z->want_first];
		struct virtio_net_hdr v;

		if (got < 0)
			return;
		assert(z->want_first < z->want_end && (size_t)got == front + MAX(z->want_len[z->want_first], (size_t)FRAME_PAD));
		memcpy(&v, z->to, sizeof(v));
		if (z->vnet)
			header_check(&v, h);
		for (size_t i = h->len; i < z->want_len[z->want_first]; i++)
			assert(z->to[front + i] == 0x5a);
		z->want_first++;
	}
}

/* --- both --- */

static void op(struct fuzz *z, struct rd *in)
{
	uint8_t what = rd_u8(in);

	switch (what % 6) {
	case 0:
	case 1:
		op_send(z, in);
		break;
	case 2:
		op_commit(z, in);
		break;
	case 3:
		op_take(z, what >> 3);
		break;
	case 4:
		link_flush(z->t.link);
		break;
	default:
		link_target_turn(&z->t);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;
	struct rd in = rd_init(data, len);
	uint8_t conf = rd_u8(&in);
	struct tap_conf c = { .vnet_hdr = conf & 1, .mtu = conf & 2 ? 1500 : 65520 };

	memset(&z, 0, sizeof(z));
	link_target_init(&z.t);
	z.vnet = c.vnet_hdr;
	c.offloads = conf & 4 ? LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO : 0;
	c.fd = link_target_pair(&z.t, SOCK_SEQPACKET);
	c.cb = link_target_cb(&z.t, on_rx);
	if (tap_new(&z.t.loop, &c, &z.t.link) || tap_start(z.t.link))
		abort();
	while (rd_left(&in))
		op(&z, &in);
	/* What has not got to the device yet is thrown away. */
	if (conf & 8) {
		z.t.link->ops->reset(z.t.link);
		op_take(&z, LINK_TARGET_MESSAGES);
		z.want_end = z.want_first;
	}
	/* All else that is on its way comes. */
	for (unsigned i = 0; i < LINK_TARGET_MESSAGES && (z.first < z.end || z.want_first < z.want_end); i++) {
		op_take(&z, LINK_TARGET_MESSAGES);
		link_target_turn(&z.t);
	}
	assert(z.first == z.end && z.want_first == z.want_end && !z.t.gone);
	close(z.t.peer);
	z.t.peer = -1;
	link_target_turn(&z.t);
	assert(z.t.gone);
	link_target_fini(&z.t);
	return 0;
}
