/* SPDX-License-Identifier: MIT */
#include "wire/tcp.h"

#include <errno.h>

#include "frames.h"

#define FIXED "04d20050 01020304 a5060708 "
#define REST "abcd 1111 0007 "

static void assert_opts_equal(const struct tcp_hdr *h, const struct tcp_hdr *want)
{
	assert_int_equal(h->mss, want->mss);
	assert_int_equal(h->has_wscale, want->has_wscale);
	assert_int_equal(h->wscale, want->wscale);
	assert_int_equal(h->sack_ok, want->sack_ok);
	assert_int_equal(h->has_ts, want->has_ts);
	assert_int_equal(h->ts_val, want->ts_val);
	assert_int_equal(h->ts_ecr, want->ts_ecr);
	assert_int_equal(h->n_sack, want->n_sack);
	for (unsigned i = 0; i < h->n_sack; i++) {
		assert_int_equal(h->sack[i].from, want->sack[i].from);
		assert_int_equal(h->sack[i].to, want->sack[i].to);
	}
}

static void read_fixed(void **state)
{
	uint8_t b[64];
	struct rd r = rd_init(b, hex_bytes(FIXED "50c2" REST "99999999", b, sizeof(b)));
	struct tcp_hdr h;

	assert_int_equal(tcp_hdr_read(&r, &h), 0);
	assert_int_equal(h.sport, 1234);
	assert_int_equal(h.dport, 80);
	assert_int_equal(h.seq, 0x01020304);
	assert_int_equal(h.ack, 0xa5060708);
	assert_int_equal(h.hlen, TCP_HLEN);
	assert_int_equal(h.flags, TCP_CWR | TCP_ECE | TCP_SYN);
	assert_int_equal(h.window, 0xabcd);
	assert_int_equal(h.urgent, 7);
	assert_opts_equal(&h, &(struct tcp_hdr){ 0 });
	assert_int_equal(rd_left(&r), 4);
}

/* Data offset, bytes that there are, and whether that is a header. */
static void read_lengths(void **state)
{
	for (unsigned doff = 0; doff < 16; doff++) {
		for (size_t len = 0; len <= 64; len++) {
			uint8_t *b = calloc(1, len ? len : 1); /* of its exact size, for the sanitizer */
			struct rd r = rd_init(b, len);
			struct tcp_hdr h = { .hlen = 1 };
			bool good = doff >= 5 && len >= doff * 4;

			if (len > 12)
				b[12] = (uint8_t)(doff << 4 | 0xf);
			assert_int_equal(tcp_hdr_read(&r, &h), good ? 0 : -EBADMSG);
			assert_int_equal(h.hlen, good ? doff * 4 : 1);
			if (good)
				assert_int_equal(r.pos, h.hlen);
			free(b);
		}
	}
}

static void read_options(void **state)
{
	static const struct {
		const char *opts;
		struct tcp_hdr want;
	} cases[] = {
		/* as common systems send them */
		{ "020405b4 0402 080a 11223344 55667788 01 030307",
		  { .mss = 1460,
		    .sack_ok = true,
		    .has_ts = true,
		    .ts_val = 0x11223344,
		    .ts_ecr = 0x55667788,
		    .has_wscale = true,
		    .wscale = 7 } },
		{ "0101080a 00000001 ffffffff", { .has_ts = true, .ts_val = 1, .ts_ecr = 0xffffffff } },
		{ "020405b4 01030308 01010402", { .mss = 1460, .has_wscale = true, .wscale = 8, .sack_ok = true } },
		{ "0101050a 00000001 00000002", { .n_sack = 1, .sack = { { 1, 2 } } } },
		{ "0101050a 00000001 0000000201", { .n_sack = 1, .sack = { { 1, 2 } } } },
		{ "0101080a 00000003 00000004 0101051a 00000005 00000006 fffffffe 00000001 80000000 7fffffff",
		  { .has_ts = true,
		    .ts_val = 3,
		    .ts_ecr = 4,
		    .n_sack = 3,
		    .sack = { { 5, 6 }, { 0xfffffffe, 1 }, { 0x80000000, 0x7fffffff } } } },
		{ "0101 0522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008",
		  { .n_sack = 4, .sack = { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } } } },
		/* limits */
		{ "0204ffff", { .mss = 65535 } },
		{ "0303 0001", { .has_wscale = true, .wscale = 0 } },
		{ "03030e00", { .has_wscale = true, .wscale = 14 } },
		{ "03030f00", { .has_wscale = true, .wscale = 14 } },
		{ "0303ff00", { .has_wscale = true, .wscale = 14 } },
		{ "02040100 02040200", { .mss = 512 } }, /* the later one counts */
		/* end and padding */
		{ "00000000 020405b4", {} },
		{ "01010101 020405b4", { .mss = 1460 } },
		{ "0402 00ff", { .sack_ok = true } },
		/* unknown kinds */
		{ "fd06 11223344 0402", { .sack_ok = true } },
		{ "fe02 0402", { .sack_ok = true } },
		/* known kinds of a wrong length are skipped */
		{ "0203 05 0402 010101", { .sack_ok = true } },
		{ "0205 05b400 0402 01", { .sack_ok = true } },
		{ "0202 0402", { .sack_ok = true } },
		{ "0302 0402", { .sack_ok = true } },
		{ "0304 0707 0402 0101", { .sack_ok = true } },
		{ "0403 01 020405b4 01", { .mss = 1460 } },
		{ "0809 11223344556677 020405b4 010101", { .mss = 1460 } },
		{ "080b 112233445566778899 020405b4 01", { .mss = 1460 } },
		{ "0802 020405b4 0101", { .mss = 1460 } },
		{ "0502 020405b4 0101", { .mss = 1460 } },
		{ "0506 11223344 020405b4 0101", { .mss = 1460 } },
		{ "050b 112233445566778899 020405b4 01", { .mss = 1460 } },
		/* impossible lengths end the list, what came before stays */
		{ "0402 0200 020405b4", { .sack_ok = true } },
		{ "0402 0201 020405b4", { .sack_ok = true } },
		{ "0402 0205", { .sack_ok = true } },
		{ "01 0402 080a 00000001 000000", { .sack_ok = true } },
		{ "0402 fdff", { .sack_ok = true } },
		{ "0402 0102", { .sack_ok = true } }, /* kind without length in the last byte */
		{ "0402 0103", { .sack_ok = true } },
		{ "0402 0104", { .sack_ok = true } },
		{ "0402 0108", { .sack_ok = true } },
		{ "0402 01ff", { .sack_ok = true } },
		/* forty bytes */
		{ "01010101010101010101 01010101010101010101 01010101010101010101 010101010101 020405b4", { .mss = 1460 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t b[TCP_HLEN_MAX + 4] = { 0 };
		size_t len = hex_bytes(FIXED "0002" REST, b, sizeof(b));
		struct tcp_hdr h;
		struct rd r;

		len += hex_bytes(cases[i].opts, &b[len], sizeof(b) - len);
		len = (len + 3) / 4 * 4;
		assert_true(len <= TCP_HLEN_MAX);
		b[12] = (uint8_t)(len << 2);
		memset(&b[len], 0x02, 4); /* what follows is data */
		r = rd_init(b, len + 4);
		assert_int_equal(tcp_hdr_read(&r, &h), 0);
		assert_opts_equal(&h, &cases[i].want);
		assert_int_equal(rd_left(&r), 4);
	}
}

static struct tcp_hdr with_options(unsigned which)
{
	struct tcp_hdr h = {
		.sport = 1, .dport = 0xfffe, .seq = 0xfffffffe, .ack = 0x80000001, .flags = 0x5a, .window = 0xf00f, .urgent = 9
	};

	h.mss = which & 1 ? 65495 : 0;
	h.has_wscale = which & 2;
	h.wscale = which & 2 ? 10 : 0;
	h.sack_ok = which & 4;
	h.has_ts = which & 8;
	h.ts_val = which & 8 ? 0x90a0b0c0 : 0;
	h.ts_ecr = which & 8 ? 0x01020304 : 0;
	h.n_sack = (uint8_t)(which & 7 ? 0 : MIN(which >> 4, which & 8 ? 3u : 4u)); /* not in a SYN */
	for (uint32_t i = 0; i < h.n_sack; i++)
		h.sack[i] = (struct tcp_sack){ 0xfffffff0 + i * 16, 0xfffffff8 + i * 16 };
	return h;
}

/* Every set of options is read back as it was written, and needs room for all of it. */
static void put_and_read(void **state)
{
	for (unsigned which = 0; which < 16 * 5; which++) {
		struct tcp_hdr h = with_options(which), back;
		size_t len = tcp_hdr_len(&h);
		uint8_t b[TCP_HLEN_MAX];
		struct wr w = wr_init(b, sizeof(b));
		struct rd r;

		assert_int_equal(len % 4, 0);
		memset(b, 0x33, sizeof(b));
		tcp_hdr_put(&w, &h);
		assert_int_equal(wr_len(&w), len);
		for (size_t i = len; i < sizeof(b); i++)
			assert_int_equal(b[i], 0x33);
		assert_int_equal(get16(&b[16]), 0);

		r = rd_init(b, len);
		assert_int_equal(tcp_hdr_read(&r, &back), 0);
		assert_true(rd_done(&r));
		assert_int_equal(back.hlen, len);
		assert_int_equal(back.sport, h.sport);
		assert_int_equal(back.dport, h.dport);
		assert_int_equal(back.seq, h.seq);
		assert_int_equal(back.ack, h.ack);
		assert_int_equal(back.flags, h.flags);
		assert_int_equal(back.window, h.window);
		assert_int_equal(back.urgent, h.urgent);
		assert_opts_equal(&back, &h);

		for (size_t cap = 0; cap < len; cap++) {
			w = wr_init(b, cap);
			tcp_hdr_put(&w, &h);
			assert_false(wr_ok(&w));
		}
	}
}

static void put_bytes(void **state)
{
	static const struct {
		unsigned which;
		const char *opts;
	} cases[] = {
		{ 0, "" },
		{ 1, "0204ffd7" },
		{ 2, "0103030a" },
		{ 4, "01010402" },
		{ 8, "0101080a 90a0b0c0 01020304" },
		{ 12, "0402080a 90a0b0c0 01020304" },
		{ 15, "0204ffd7 0402080a 90a0b0c0 01020304 0103030a" },
		{ 16, "0101050a fffffff0 fffffff8" },
		{ 40, "0101080a 90a0b0c0 01020304 01010512 fffffff0 fffffff8 00000000 00000008" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcp_hdr h = with_options(cases[i].which);
		uint8_t want[TCP_HLEN_MAX], b[TCP_HLEN_MAX];
		size_t len = hex_bytes("0001fffe fffffffe 80000001 005af00f 00000009", want, sizeof(want));
		struct wr w = wr_init(b, sizeof(b));

		len += hex_bytes(cases[i].opts, &want[len], sizeof(want) - len);
		want[12] = (uint8_t)(len << 2);
		tcp_hdr_put(&w, &h);
		assert_int_equal(wr_len(&w), len);
		assert_memory_equal(b, want, len);
	}
}

static void sequence_numbers(void **state)
{
	static const struct {
		uint32_t a, b;
		bool lt, le;
	} cases[] = {
		{ 0, 0, false, true },
		{ 1, 2, true, true },
		{ 2, 1, false, false },
		{ 0xffffffff, 0, true, true },
		{ 0, 0xffffffff, false, false },
		{ 0x7fffffff, 0x80000000, true, true },
		{ 0xfffffff0, 0x7fffffef, true, true },
		{ 5, 0x80000004, true, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t a = cases[i].a, b = cases[i].b;

		assert_int_equal(seq_lt(a, b), cases[i].lt);
		assert_int_equal(seq_le(a, b), cases[i].le);
		assert_int_equal(seq_gt(b, a), cases[i].lt);
		assert_int_equal(seq_ge(b, a), cases[i].le);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_fixed),   cmocka_unit_test(read_lengths), cmocka_unit_test(read_options),
		cmocka_unit_test(put_and_read), cmocka_unit_test(put_bytes),    cmocka_unit_test(sequence_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
