/* SPDX-License-Identifier: MIT */
#include "wire/frag.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/iov.h"
#include "wire/eth.h"
#include "wire/fragout.h"
#include "wire/ip.h"

#define IP_LEN_MAX 65535
#define PIECES_MAX 128 /* of one datagram: enough for 64 KiB over a path of 576 bytes */
#define FRAME_MAX (ETH_HLEN + IP6_HLEN + IP_LEN_MAX)

/* Part of a datagram that has come: [off, end). */
struct piece {
	uint16_t off, end;
};

enum dgram_state {
	DG_FREE,
	DG_OPEN, /* gathers pieces */
	DG_DEAD, /* dropped for an overlap: what is still to come of it is dropped as well (RFC 5722 4), until the timeout */
};

struct dgram {
	enum dgram_state state;
	uint64_t start_ns;

	/* key (RFC 791 3.2, RFC 8200 4.5); IPv6 tells datagrams apart without the protocol, which is left 0 */
	struct addr src, dst;
	uint32_t id;
	uint8_t key_proto;

	/* of the first fragment, once it is here */
	uint8_t proto, ttl, tos;
	uint8_t dst_mac[MAC_LEN], src_mac[MAC_LEN];

	bool has_end; /* the last fragment is here, so size is known */
	uint32_t size;
	uint32_t got; /* bytes in pieces */
	unsigned n;
	struct piece piece[PIECES_MAX]; /* in order, none overlaps another */

	uint8_t frame[FRAME_MAX];
};

struct frags {
	unsigned n; /* slots */
	uint64_t displaced;
	struct dgram dgram[];
};

static size_t frags_size(unsigned n)
{
	return sizeof(struct frags) + n * sizeof(struct dgram);
}

struct frags *frags_new(unsigned n)
{
	struct frags *f;

	if (!n || n > FRAG_DATAGRAMS_MAX)
		return NULL;
	f = mmap(NULL, frags_size(n), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f == MAP_FAILED)
		return NULL;
	f->n = n; /* the rest is zero: every slot is DG_FREE */
	return f;
}

void frags_free(struct frags *f)
{
	if (f)
		(void)munmap(f, frags_size(f->n));
}

static uint8_t key_proto(const struct pkt *p)
{
	return p->family == 4 ? p->proto : 0;
}

static bool dgram_is(const struct dgram *d, const struct pkt *p)
{
	return d->state != DG_FREE && d->id == p->frag_id && d->key_proto == key_proto(p) && addr_eq(&d->src, &p->src) &&
	       addr_eq(&d->dst, &p->dst);
}

static void dgram_start(struct dgram *d, const struct pkt *p, uint64_t now_ns)
{
	d->state = DG_OPEN;
	d->start_ns = now_ns;
	d->src = p->src;
	d->dst = p->dst;
	d->id = p->frag_id;
	d->key_proto = key_proto(p);
	d->has_end = false;
	d->size = d->got = 0;
	d->n = 0;
}

static bool dgram_expired(const struct dgram *d, uint64_t now_ns)
{
	return now_ns - d->start_ns >= FRAG_TIMEOUT_NS;
}

/* The datagram that p belongs to; otherwise a free slot, or that of the oldest one, is made its. */
static struct dgram *dgram_get(struct frags *f, const struct pkt *p, uint64_t now_ns)
{
	struct dgram *spare = f->dgram; /* there is one at least */

	for (unsigned i = 0; i < f->n; i++) {
		struct dgram *d = &f->dgram[i];

		if (dgram_expired(d, now_ns))
			d->state = DG_FREE;
		if (dgram_is(d, p))
			return d;
		if (spare->state != DG_FREE && (d->state == DG_FREE || d->start_ns < spare->start_ns))
			spare = d;
	}
	f->displaced += spare->state == DG_OPEN;
	dgram_start(spare, p, now_ns);
	return spare;
}

/*
 * Enters [off, end) in order. 1: it is new. 0: the very same piece was here before. -EBADMSG: it overlaps others, or there are too
 * many. Fragments mostly come in order, so the place is looked for from the end.
 */
static int piece_add(struct dgram *d, uint16_t off, uint16_t end)
{
	unsigned at = d->n;

	while (at && d->piece[at - 1].off > off)
		at--;
	if (at && d->piece[at - 1].end > off) {
		struct piece before = d->piece[at - 1];

		return before.off == off && before.end == end ? 0 : -EBADMSG;
	}
	if ((at < d->n && d->piece[at].off < end) || d->n == PIECES_MAX)
		return -EBADMSG;
	memmove(&d->piece[at + 1], &d->piece[at], (d->n - at) * sizeof(d->piece[0]));
	d->piece[at] = (struct piece){ .off = off, .end = end };
	d->n++;
	d->got += (uint32_t)end - off;
	return 1;
}

/* Every byte lies below the end that the last fragment gave, and there is one such end only. */
static bool end_agrees(struct dgram *d, const struct pkt *p, uint32_t end)
{
	if (p->frag_more)
		return !d->has_end || end < d->size;
	if (d->has_end)
		return end == d->size;
	if (d->n && d->piece[d->n - 1].end > p->frag_off)
		return false;
	d->has_end = true;
	d->size = end;
	return true;
}

static void first_take(struct dgram *d, const struct pkt *p)
{
	d->proto = p->proto;
	d->ttl = p->ttl;
	d->tos = p->tos;
	memcpy(d->dst_mac, p->dst_mac, MAC_LEN);
	memcpy(d->src_mac, p->src_mac, MAC_LEN);
}

/* Puts the plain headers in front of the data. */
static size_t dgram_finish(struct dgram *d)
{
	struct wr w = wr_init(d->frame, sizeof(d->frame));
	struct ip_tx ip = {
		.src = d->src,
		.dst = d->dst,
		.proto = d->proto,
		.ttl = d->ttl,
		.tos = d->tos,
		.id = (uint16_t)d->id,
		.may_frag = true,
	};

	eth_put(&w, d->dst_mac, d->src_mac, addr_is4(&d->src) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(&w, &ip, d->size);
	(void)wr_put(&w, d->size);
	d->state = DG_FREE;
	return wr_len(&w);
}

/* What no sender makes: no data, a middle part that is no multiple of eight, a datagram beyond 64 KiB. */
static bool frag_is_sane(const struct pkt *p)
{
	size_t fixed = p->family == 4 ? IP4_HLEN : 0; /* counts for the length of an IPv4 packet only */

	return p->frag && p->l4_len && !(p->frag_more && p->l4_len % 8) && fixed + p->frag_off + p->l4_len <= IP_LEN_MAX;
}

int frags_add(struct frags *f, const struct pkt *p, const struct iovec *iov, unsigned n, uint64_t now_ns, const uint8_t **ret_frame,
	      size_t *ret_len)
{
	size_t data = ETH_HLEN + (p->family == 4 ? IP4_HLEN : IP6_HLEN);
	struct dgram *d;
	uint32_t end;
	int err;

	if (!frag_is_sane(p))
		return -EBADMSG;
	d = dgram_get(f, p, now_ns);
	if (d->state == DG_DEAD)
		return -EBADMSG;
	end = p->frag_off + p->l4_len;
	err = end_agrees(d, p, end) ? piece_add(d, p->frag_off, (uint16_t)end) : -EBADMSG;
	if (!err)
		return 0;
	if (err < 0 || iov_copy_out(iov, n, p->l4, &d->frame[data + p->frag_off], p->l4_len) != p->l4_len) {
		d->state = DG_DEAD;
		return -EBADMSG;
	}
	if (!p->frag_off)
		first_take(d, p);
	if (!d->has_end || d->got != d->size)
		return 0;
	*ret_len = dgram_finish(d);
	*ret_frame = d->frame;
	return 1;
}

uint64_t frags_due(const struct frags *f)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < f->n; i++) {
		if (f->dgram[i].state != DG_FREE)
			due = MIN(due, f->dgram[i].start_ns + FRAG_TIMEOUT_NS);
	}
	return due;
}

/* The first fragment once more, with its header in front of the data, where that of the whole would have been. */
static bool dgram_first(struct dgram *d, struct frag_late *ret_late)
{
	bool v4 = addr_is4(&d->src);
	size_t data = ETH_HLEN + ip_hlen(&d->src), hlen = v4 ? IP4_HLEN : IP6_HLEN + IP6_FRAG_HLEN, off, len;
	struct ip_tx ip = { .src = d->src, .dst = d->dst, .proto = d->proto, .ttl = d->ttl, .tos = d->tos };
	struct wr w = wr_init(d->frame + data - hlen, hlen);
	struct fragout out;

	if (d->state != DG_OPEN || !d->n || d->piece[0].off)
		return false;
	len = d->piece[0].end;
	/* Something follows, however short: else it would be no fragment. */
	if (fragout_init(&out, &ip, d->id, len + 1, hlen + len) || !fragout_next(&out, &w, &off, &len))
		return false;
	*ret_late = (struct frag_late){ .src = &d->src, .dst = &d->dst, .packet = w.p, .len = wr_len(&w) + len };
	return wr_ok(&w);
}

bool frags_expire(struct frags *f, uint64_t now_ns, struct frag_late *ret_late)
{
	for (unsigned i = 0; i < f->n; i++) {
		struct dgram *d = &f->dgram[i];
		bool told;

		if (d->state == DG_FREE || !dgram_expired(d, now_ns))
			continue;
		told = dgram_first(d, ret_late);
		d->state = DG_FREE;
		if (told)
			return true;
	}
	return false;
}

unsigned frags_open(const struct frags *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->n; i++)
		n += f->dgram[i].state == DG_OPEN;
	return n;
}

uint64_t frags_displaced(const struct frags *f)
{
	return f->displaced;
}
