/* SPDX-License-Identifier: MIT */
/* Reassembly, against a model that keeps a flag for every byte. */
#include "wire/frag.h"

#include <errno.h>

#include "frames.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define T0 (1000 * NSEC_PER_SEC)
#define DATAGRAMS 16 /* at once */

/* A fragment as the tests describe it. */
struct fr {
	bool v4;
	uint32_t id;
	uint32_t off, len;
	bool more;
	uint8_t proto; /* 0: UDP */
	uint8_t src, dst; /* last byte of the addresses */
	uint8_t ttl; /* 0: 64 */
	uint8_t salt; /* changes the payload */
	uint8_t opts; /* IPv4: bytes of options; IPv6: bytes of headers in front of the fragment header */
};

static uint8_t frame[70000];

static uint8_t payload_at(const struct fr *f, uint32_t pos)
{
	return (uint8_t)(pos * 7 + (pos >> 8) + f->id + f->salt);
}

static size_t put4(const struct fr *f)
{
	size_t len = hex_bytes(ETH4 "45000000 0000 0000 4011 0000" ADDRS4, frame, sizeof(frame));
	size_t total = 20u + f->opts + f->len;

	frame[14] = (uint8_t)(0x45 + f->opts / 4);
	frame[16] = (uint8_t)(total >> 8);
	frame[17] = (uint8_t)total;
	frame[18] = (uint8_t)(f->id >> 8);
	frame[19] = (uint8_t)f->id;
	frame[20] = (uint8_t)((f->off >> 11) | (f->more ? 0x20 : 0));
	frame[21] = (uint8_t)(f->off >> 3);
	frame[22] = f->ttl ? f->ttl : 64;
	frame[23] = f->proto ? f->proto : PROTO_UDP;
	frame[29] = f->src;
	frame[33] = f->dst;
	memset(&frame[len], 1, f->opts);
	return len + f->opts;
}

static size_t put6(const struct fr *f)
{
	size_t len = hex_bytes(ETH6 "60000000 0000 2c40" ADDRS6, frame, sizeof(frame));
	size_t total = 8u + f->opts + f->len;

	frame[18] = (uint8_t)(total >> 8);
	frame[19] = (uint8_t)total;
	frame[21] = f->ttl ? f->ttl : 64;
	frame[37] = f->src;
	frame[53] = f->dst;
	if (f->opts) {
		frame[20] = 60;
		memset(&frame[len], 0, f->opts);
		frame[len] = 44;
		frame[len + 1] = (uint8_t)(f->opts / 8 - 1);
		len += f->opts;
	}
	frame[len] = f->proto ? f->proto : PROTO_UDP;
	frame[len + 1] = 0;
	frame[len + 2] = (uint8_t)(f->off >> 8);
	frame[len + 3] = (uint8_t)(f->off | (f->more ? 1 : 0));
	for (unsigned i = 0; i < 4; i++)
		frame[len + 4 + i] = (uint8_t)(f->id >> (24 - 8 * i));
	return len + 8;
}

/* Makes the frame, parses it as the program does, adds it. The payload comes in several pieces of memory. */
static int add_at(struct frags *fs, const struct fr *f, uint64_t now, const uint8_t **ret_out, size_t *ret_len)
{
	size_t hlen = f->v4 ? put4(f) : put6(f), len = hlen + f->len, third = len / 3;
	struct iovec iov[3];
	struct pkt p;

	for (uint32_t i = 0; i < f->len; i++)
		frame[hlen + i] = payload_at(f, f->off + i);
	p.head_len = (uint16_t)MIN(len, sizeof(p.head));
	memcpy(p.head, frame, p.head_len);
	assert_int_equal(pkt_parse(&p, len), 0);
	assert_true(p.frag);
	iov[0] = (struct iovec){ frame, third };
	iov[1] = (struct iovec){ &frame[third], third };
	iov[2] = (struct iovec){ &frame[2 * third], len - 2 * third };
	return frags_add(fs, &p, iov, 3, now, ret_out, ret_len);
}

static int add(struct frags *fs, const struct fr *f)
{
	const uint8_t *out;
	size_t len;

	return add_at(fs, f, T0, &out, &len);
}

/* out is the datagram of f (the first fragment's description) with size bytes of payload. */
static void assert_whole(const uint8_t *out, size_t out_len, const struct fr *f, size_t size)
{
	size_t hlen = ETH_HLEN + (f->v4 ? IP4_HLEN : IP6_HLEN);
	struct pkt p;

	assert_int_equal(out_len, hlen + size);
	p.head_len = (uint16_t)MIN(out_len, sizeof(p.head));
	memcpy(p.head, out, p.head_len);
	assert_int_equal(pkt_parse(&p, out_len), size < 8 ? -EBADMSG : 0); /* all but the length of UDP is fine */
	assert_false(p.frag);
	assert_int_equal(p.family, f->v4 ? 4 : 6);
	assert_int_equal(p.proto, f->proto ? f->proto : PROTO_UDP);
	assert_int_equal(p.ttl, f->ttl ? f->ttl : 64);
	assert_int_equal(p.l4, hlen);
	assert_int_equal(p.l4_len, size);
	assert_int_equal(p.src.b[15], f->src);
	assert_int_equal(p.dst.b[15], f->dst);
	assert_memory_equal(out, "\x02\xaa\xbb\xcc\xdd\x0b\x02\xaa\xbb\xcc\xdd\x0a", 12);
	if (f->v4) {
		assert_int_equal(get16(&out[18]), (uint16_t)f->id);
		assert_int_equal(get16(&out[20]), 0);
		assert_int_equal(slow_sum(&out[14], IP4_HLEN, 0), 0xffff);
	}
	for (size_t i = 0; i < size; i++)
		if (out[hlen + i] != payload_at(f, (uint32_t)i))
			fail_msg("byte %zu of %zu differs", i, size);
}

static struct frags *new_frags(void)
{
	struct frags *fs = frags_new(DATAGRAMS);

	assert_non_null(fs);
	return fs;
}

/* All orders of four fragments, both families, headers in front or not. */
static void all_orders(void **state)
{
	static const uint32_t offs[] = { 0, 8, 1000, 1480, 1501 };

	for (unsigned variant = 0; variant < 4; variant++) {
		struct frags *fs = new_frags();

		for (unsigned perm = 0; perm < 256; perm++) {
			unsigned order[4] = { perm & 3, perm >> 2 & 3, perm >> 4 & 3, perm >> 6 & 3 };
			struct fr f = { .v4 = variant & 1, .id = perm, .opts = variant & 2 ? 8 : 0, .src = 1, .dst = 2 };
			const uint8_t *out = NULL;
			size_t len = 0;

			if ((1u << order[0] | 1u << order[1] | 1u << order[2] | 1u << order[3]) != 15)
				continue;
			for (unsigned i = 0; i < 4; i++) {
				f.off = offs[order[i]];
				f.len = offs[order[i] + 1] - f.off;
				f.more = order[i] != 3;
				assert_int_equal(add_at(fs, &f, T0, &out, &len), i == 3);
			}
			assert_whole(out, len, &f, 1501);
		}
		frags_free(fs);
	}
}

/* TTL, addresses of the link and next header are those of the first fragment. */
static void first_decides(void **state)
{
	struct frags *fs = new_frags();
	struct fr last = { .id = 5, .off = 16, .len = 3, .ttl = 9, .proto = 60 };
	struct fr first = { .id = 5, .len = 16, .more = true, .ttl = 7, .proto = PROTO_UDP };
	const uint8_t *out;
	size_t len;

	for (int v4 = 0; v4 < 2; v4++) {
		last.v4 = first.v4 = v4;
		last.proto = v4 ? 0 : 60; /* it is part of the key in IPv4 */
		assert_int_equal(add_at(fs, &last, T0, &out, &len), 0);
		assert_int_equal(add_at(fs, &first, T0, &out, &len), 1);
		assert_whole(out, len, &first, 19);
		assert_int_equal(add_at(fs, &first, T0, &out, &len), 0);
		assert_int_equal(add_at(fs, &last, T0, &out, &len), 1);
		assert_whole(out, len, &first, 19);
	}
	frags_free(fs);
}

/* Steps on one datagram from empty: offset, length, more, and what comes of it. */
struct step {
	uint32_t off, len;
	bool more;
	int want;
};

#define DROP (-EBADMSG)

static const struct {
	const char *name;
	struct step step[8];
	unsigned n;
} sequences[] = {
	{ "duplicates",
	  { { 0, 16, true, 0 }, { 0, 16, true, 0 }, { 16, 8, true, 0 }, { 0, 16, true, 0 }, { 24, 1, false, 1 } },
	  5 },
	{ "duplicate end", { { 24, 1, false, 0 }, { 24, 1, false, 0 }, { 0, 24, true, 1 } }, 3 },
	{ "end only", { { 24, 1, false, 0 } }, 1 },
	{ "no first", { { 24, 1, false, 0 }, { 8, 16, true, 0 }, { 0, 8, true, 1 } }, 3 },
	{ "overlap behind", { { 0, 16, true, 0 }, { 8, 16, true, DROP }, { 24, 8, false, DROP }, { 16, 8, true, DROP } }, 4 },
	{ "overlap before", { { 8, 16, true, 0 }, { 0, 16, true, DROP }, { 0, 8, true, DROP }, { 24, 8, false, DROP } }, 4 },
	{ "overlap inside", { { 0, 32, true, 0 }, { 8, 8, true, DROP }, { 32, 8, false, DROP } }, 3 },
	{ "overlap around", { { 8, 8, true, 0 }, { 0, 32, true, DROP }, { 32, 8, false, DROP } }, 3 },
	{ "overlap of same start", { { 0, 16, true, 0 }, { 0, 24, true, DROP }, { 16, 8, false, DROP } }, 3 },
	{ "overlap of same start, shorter", { { 0, 16, true, 0 }, { 0, 8, true, DROP }, { 16, 8, false, DROP } }, 3 },
	{ "overlap of same end", { { 0, 8, true, 0 }, { 8, 16, true, 0 }, { 16, 8, true, DROP }, { 24, 8, false, DROP } }, 4 },
	{ "overlap across a gap", { { 0, 8, true, 0 }, { 16, 8, true, 0 }, { 8, 16, true, DROP }, { 24, 8, false, DROP } }, 4 },
	{ "bridge", { { 0, 8, true, 0 }, { 16, 8, true, 0 }, { 8, 8, true, 0 }, { 24, 8, false, 1 } }, 4 },
	{ "middle becomes last", { { 8, 8, true, 0 }, { 8, 8, false, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "last becomes middle", { { 8, 8, false, 0 }, { 8, 8, true, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "two ends", { { 8, 8, false, 0 }, { 16, 8, false, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "two ends, shorter", { { 16, 8, false, 0 }, { 8, 4, false, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "beyond the end", { { 8, 8, false, 0 }, { 16, 8, true, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "end before what is there", { { 32, 8, true, 0 }, { 8, 8, false, DROP }, { 0, 8, true, DROP } }, 3 },
	{ "up to the end from before", { { 16, 8, false, 0 }, { 8, 16, true, DROP } }, 2 },
	{ "odd middle is ignored", { { 0, 8, true, 0 }, { 8, 9, true, DROP }, { 8, 9, false, 1 } }, 3 },
	{ "nothing in it", { { 0, 8, true, 0 }, { 8, 0, true, DROP }, { 8, 0, false, DROP }, { 8, 1, false, 1 } }, 4 },
};

static void check_sequence(size_t i, bool v4)
{
	struct frags *fs = new_frags();

	for (unsigned k = 0; k < sequences[i].n; k++) {
		const struct step *s = &sequences[i].step[k];
		struct fr f = { .v4 = v4, .id = 77, .off = s->off, .len = s->len, .more = s->more };
		const uint8_t *out;
		size_t len = 0;
		int got = add_at(fs, &f, T0 + k, &out, &len);

		if (got != s->want)
			fail_msg("%s, IPv%d, step %u: %d", sequences[i].name, v4 ? 4 : 6, k, got);
		if (got == 1)
			assert_whole(out, len, &f, len - (v4 ? 34 : 54));
	}
	frags_free(fs);
}

static void one_datagram(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sequences); i++) {
		check_sequence(i, true);
		check_sequence(i, false);
	}
}

/* The first copy counts when a duplicate carries other bytes. */
static void duplicate_with_other_bytes(void **state)
{
	struct frags *fs = new_frags();
	struct fr f = { .id = 1, .len = 800, .more = true };
	const uint8_t *out;
	size_t len;

	assert_int_equal(add(fs, &f), 0);
	f.salt = 99;
	assert_int_equal(add(fs, &f), 0);
	f = (struct fr){ .id = 1, .off = 800, .len = 1 };
	assert_int_equal(add_at(fs, &f, T0, &out, &len), 1);
	assert_whole(out, len, &f, 801);
	frags_free(fs);
}

static void largest(void **state)
{
	for (int v4 = 0; v4 < 2; v4++) {
		uint32_t max = v4 ? 65515 : 65535;
		struct frags *fs = new_frags();
		struct fr f = { .v4 = v4, .id = 1 };
		const uint8_t *out;
		size_t len;

		for (f.off = 0; f.off < max; f.off += f.len) {
			f.len = MIN(max - f.off, 1480u);
			f.more = f.off + f.len < max;
			assert_int_equal(add_at(fs, &f, T0, &out, &len), !f.more);
		}
		assert_whole(out, len, &f, max);

		/* one byte more, or a whole piece behind the end of the world */
		f = (struct fr){ .v4 = v4, .id = 2, .off = v4 ? 65512 : 65528, .len = v4 ? 4 : 8 };
		assert_int_equal(add(fs, &f), -EBADMSG);
		f.len--;
		assert_int_equal(add(fs, &f), 0);
		f = (struct fr){ .v4 = v4, .id = 3, .off = 65528, .len = 1480, .more = true };
		assert_int_equal(add(fs, &f), -EBADMSG);
		frags_free(fs);
	}
}

/* As many pieces as there is room for are fine, one more is too many. */
static void many_pieces(void **state)
{
	for (unsigned want = 128; want <= 129; want++) {
		struct frags *fs = new_frags();
		struct fr f = { .v4 = true, .id = 1, .len = 8, .more = true };
		const uint8_t *out;
		size_t len;

		for (unsigned i = 0; i < want - 1; i++) {
			f.off = 8 * (want - 2 - i);
			assert_int_equal(add(fs, &f), 0);
		}
		f.off = 8 * (want - 1);
		f.more = false;
		assert_int_equal(add_at(fs, &f, T0, &out, &len), want == 128 ? 1 : -EBADMSG);
		if (want == 128)
			assert_whole(out, len, &f, 1024);
		frags_free(fs);
	}
}

/* Datagrams that differ in one part of the key do not mix. */
static void keys(void **state)
{
	static const struct fr first[] = {
		{ .v4 = true, .id = 1, .src = 1, .dst = 2, .len = 8, .more = true },
		{ .v4 = true, .id = 2, .src = 1, .dst = 2, .len = 8, .more = true, .salt = 1 },
		{ .v4 = true, .id = 1, .src = 3, .dst = 2, .len = 8, .more = true, .salt = 2 },
		{ .v4 = true, .id = 1, .src = 1, .dst = 3, .len = 8, .more = true, .salt = 3 },
		{ .v4 = true, .id = 1, .src = 1, .dst = 2, .len = 8, .more = true, .salt = 4, .proto = 47 },
		{ .id = 1, .src = 1, .dst = 2, .len = 8, .more = true, .salt = 5 },
		{ .id = 0x10001, .src = 1, .dst = 2, .len = 8, .more = true, .salt = 6 },
		{ .id = 1, .src = 3, .dst = 2, .len = 8, .more = true, .salt = 7 },
		{ .id = 1, .src = 1, .dst = 3, .len = 8, .more = true, .salt = 8 },
	};
	struct frags *fs = new_frags();

	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		assert_int_equal(add(fs, &first[i]), 0);
	for (size_t i = ARRAY_SIZE(first); i-- > 0;) {
		struct fr last = first[i];
		const uint8_t *out;
		size_t len;

		last.off = 8;
		last.more = false;
		assert_int_equal(add_at(fs, &last, T0, &out, &len), 1);
		assert_whole(out, len, &first[i], 16);
	}
	frags_free(fs);
}

static void timeouts(void **state)
{
	static const struct {
		uint64_t after;
		bool overlap; /* a dropped one is forgotten as well */
		int want;
	} cases[] = {
		{ 0, false, 1 },
		{ FRAG_TIMEOUT_NS - 1, false, 1 },
		{ FRAG_TIMEOUT_NS, false, 0 },
		{ 10 * FRAG_TIMEOUT_NS, false, 0 },
		{ FRAG_TIMEOUT_NS - 1, true, -EBADMSG },
		{ FRAG_TIMEOUT_NS, true, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fr first = { .v4 = true, .id = 1, .len = 16, .more = true },
			  over = { .v4 = true, .id = 1, .off = 8, .len = 16 };
		struct fr last = { .v4 = true, .id = 1, .off = 16, .len = 5 };
		struct frags *fs = new_frags();
		const uint8_t *out;
		size_t len;

		assert_int_equal(add_at(fs, &first, T0, &out, &len), 0);
		if (cases[i].overlap)
			assert_int_equal(add_at(fs, &over, T0 + 1, &out, &len), -EBADMSG);
		assert_int_equal(add_at(fs, &last, T0 + cases[i].after, &out, &len), cases[i].want);
		/* what is new after the timeout can be completed */
		if (!cases[i].want) {
			assert_int_equal(add_at(fs, &first, T0 + cases[i].after, &out, &len), 1);
			assert_whole(out, len, &first, 21);
		}
		frags_free(fs);
	}
}

/* What is left of a datagram when its time is over: its first fragment, if that came and nothing was wrong. */
static void first_of_the_late(void **state)
{
	static const struct {
		uint32_t off[2]; /* of fragments of 16 bytes */
		bool told;
	} cases[] = { { { 0, 32 }, true }, { { 32, 0 }, true }, { { 16, 32 }, false }, { { 0, 8 }, false } };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool v4 = i % 2;
		size_t ip = ETH_HLEN, hlen = v4 ? IP4_HLEN : IP6_HLEN + IP6_FRAG_HLEN;
		struct frags *fs = new_frags();
		struct fr f = { .v4 = v4, .id = 0x1234, .len = 16, .more = true };
		struct frag_late late;
		const uint8_t *out;
		size_t len;

		assert_true(frags_due(fs) == UINT64_MAX);
		for (unsigned k = 0; k < 2; k++) {
			f.off = cases[i / 2].off[k];
			(void)!add_at(fs, &f, T0 + k, &out, &len);
		}
		assert_true(frags_due(fs) == T0 + FRAG_TIMEOUT_NS);
		assert_false(frags_expire(fs, T0 + FRAG_TIMEOUT_NS - 1, &late));
		assert_int_equal(frags_expire(fs, T0 + FRAG_TIMEOUT_NS, &late), cases[i / 2].told);
		assert_true(frags_due(fs) == UINT64_MAX);
		if (cases[i / 2].told) {
			f.off = 0;
			assert_int_equal(v4 ? put4(&f) : put6(&f), ip + hlen);
			for (uint32_t b = 0; b < f.len; b++)
				frame[ip + hlen + b] = payload_at(&f, b);
			assert_int_equal(late.len, hlen + f.len);
			assert_memory_equal(late.packet, frame + ip, v4 ? 10 : late.len); /* up to the checksum */
			assert_memory_equal(late.packet + 12, frame + ip + 12, late.len - 12);
		}
		frags_free(fs);
	}
}

/* The oldest gives way, whatever its slot; the others are complete in the end. */
static void eviction(void **state)
{
	struct frags *fs = new_frags();
	const uint8_t *out;
	size_t len;

	for (uint32_t id = 0; id < DATAGRAMS + 3; id++) {
		struct fr f = { .id = id, .len = 8, .more = true };

		assert_int_equal(add_at(fs, &f, T0 + id, &out, &len), 0);
	}
	for (uint32_t id = DATAGRAMS + 2; id >= 3; id--) {
		struct fr f = { .id = id, .off = 8, .len = 1 };

		assert_int_equal(add_at(fs, &f, T0 + 100, &out, &len), 1);
		assert_whole(out, len, &f, 9);
	}
	for (uint32_t id = 0; id < 3; id++) {
		struct fr f = { .id = id, .off = 8, .len = 1 };

		assert_int_equal(add_at(fs, &f, T0 + 100, &out, &len), 0);
	}
	frags_free(fs);
}

/* As many as were asked for, and what gave way is counted. */
static void fewer(void **state)
{
	struct frags *fs = frags_new(3);

	assert_null(frags_new(0));
	assert_null(frags_new(FRAG_DATAGRAMS_MAX + 1));
	assert_non_null(fs);
	for (uint32_t id = 0; id < 5; id++) {
		struct fr f = { .id = id, .len = 8, .more = true };

		assert_int_equal(add(fs, &f), 0);
		assert_int_equal(frags_open(fs), MIN(id + 1, 3u));
		assert_int_equal(frags_displaced(fs), id > 2 ? id - 2 : 0);
	}
	frags_free(fs);
}

/* A vector that does not hold what the header promised. */
static void short_memory(void **state)
{
	struct frags *fs = new_frags();
	struct fr f = { .v4 = true, .id = 1, .len = 800, .more = true };
	size_t hlen = put4(&f);
	struct iovec iov = { frame, hlen + 799 };
	const uint8_t *out;
	struct pkt p;
	size_t len;

	p.head_len = sizeof(p.head);
	memcpy(p.head, frame, p.head_len);
	assert_int_equal(pkt_parse(&p, hlen + 800), 0);
	assert_int_equal(frags_add(fs, &p, &iov, 1, T0, &out, &len), -EBADMSG);
	assert_int_equal(frags_add(fs, &p, NULL, 0, T0, &out, &len), -EBADMSG);
	frags_free(fs);
}

static void not_a_fragment(void **state)
{
	struct frags *fs = new_frags();
	struct pkt p = { .family = 4, .l4 = 34, .l4_len = 8 };
	struct iovec iov = { frame, 100 };
	const uint8_t *out;
	size_t len;

	assert_int_equal(frags_add(fs, &p, &iov, 1, T0, &out, &len), -EBADMSG);
	frags_free(fs);
	frags_free(NULL);
}

/* What reassembly means, for one datagram of at most 64 bytes: a list of what came and a flag for each byte. */
struct model {
	struct step came[64];
	unsigned n;
	bool has[128];
	bool dead;
};

static bool model_conflicts(const struct model *m, const struct step *s)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct step *c = &m->came[i];

		if (c->off < s->off + s->len && s->off < c->off + c->len)
			return true;
		if (!c->more && s->off + s->len > c->off + c->len)
			return true;
		if (!s->more && c->off + c->len > s->off + s->len)
			return true;
		if (!c->more && !s->more)
			return true;
	}
	return false;
}

static int model_add(struct model *m, const struct step *s, size_t *ret_size)
{
	size_t size = 0;

	if (!s->len || (s->more && s->len % 8) || m->dead)
		return -EBADMSG;
	for (unsigned i = 0; i < m->n; i++) {
		const struct step *c = &m->came[i];

		if (c->off == s->off && c->len == s->len && c->more == s->more)
			return 0;
	}
	if (model_conflicts(m, s)) {
		m->dead = true;
		return -EBADMSG;
	}
	m->came[m->n++] = *s;
	memset(&m->has[s->off], true, s->len);
	for (unsigned i = 0; i < m->n; i++)
		if (!m->came[i].more)
			size = m->came[i].off + m->came[i].len;
	if (!size || memchr(m->has, false, size))
		return 0;
	*ret_size = size;
	return 1;
}

static unsigned model_run(struct frags *fs, uint64_t *rnd, uint32_t id)
{
	bool tidy = next_random(rnd) % 2; /* pieces of one cut, so that many datagrams get complete */
	struct model m = { 0 };

	for (unsigned k = 0; k < 40; k++) {
		struct step s = { .off = next_random(rnd) % 8 * 8 };
		struct fr f = { .v4 = id & 1, .id = id };
		size_t size = 0, len = 0;
		const uint8_t *out;
		int want;

		s.more = tidy ? s.off < 48 : next_random(rnd) % 4;
		s.len = tidy ? 8 : next_random(rnd) % 4 * 8 + (next_random(rnd) % 8 ? 0 : 3);
		if (tidy && !s.more)
			s = (struct step){ .off = 48, .len = 12 };
		f.off = s.off;
		f.len = s.len;
		f.more = s.more;
		if (!f.off && !f.more)
			continue; /* no fragment at all */
		want = model_add(&m, &s, &size);
		assert_int_equal(add_at(fs, &f, T0 + id, &out, &len), want);
		if (want == 1) {
			assert_whole(out, len, &f, size);
			return 1;
		}
	}
	return 0;
}

static void against_model(void **state)
{
	struct frags *fs = new_frags();
	uint64_t rnd = 2024;
	unsigned complete = 0;

	for (uint32_t id = 0; id < 3000; id++)
		complete += model_run(fs, &rnd, id);
	assert_in_range(complete, 1000, 2900);
	frags_free(fs);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_orders),
		cmocka_unit_test(first_decides),
		cmocka_unit_test(one_datagram),
		cmocka_unit_test(duplicate_with_other_bytes),
		cmocka_unit_test(largest),
		cmocka_unit_test(many_pieces),
		cmocka_unit_test(keys),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(first_of_the_late),
		cmocka_unit_test(eviction),
		cmocka_unit_test(fewer),
		cmocka_unit_test(short_memory),
		cmocka_unit_test(not_a_fragment),
		cmocka_unit_test(against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
