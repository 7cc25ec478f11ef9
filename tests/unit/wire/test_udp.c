/* SPDX-License-Identifier: MIT */
#include "wire/udp.h"

#include <errno.h>

#include "frames.h"

static void read_cases(void **state)
{
	static const struct {
		const char *bytes;
		int err;
		struct udp_hdr want;
	} cases[] = {
		{ "04d20035 00080000", 0, { 1234, 53, 8 } }, { "ffff0001 ffff1234 99", 0, { 65535, 1, 65535 } },
		{ "04d20035 00070000", -EBADMSG, {} },       { "04d20035 00000000 0000", -EBADMSG, {} },
		{ "04d20035 000800", -EBADMSG, {} },         { "", -EBADMSG, {} },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t b[16];
		struct rd r = rd_init(b, hex_bytes(cases[i].bytes, b, sizeof(b)));
		struct udp_hdr h = { 1, 2, 3 };

		assert_int_equal(udp_hdr_read(&r, &h), cases[i].err);
		if (cases[i].err) {
			assert_true(h.sport == 1 && h.dport == 2 && h.len == 3);
			continue;
		}
		assert_int_equal(h.sport, cases[i].want.sport);
		assert_int_equal(h.dport, cases[i].want.dport);
		assert_int_equal(h.len, cases[i].want.len);
		assert_int_equal(r.pos, UDP_HLEN);
	}
}

static void put_cases(void **state)
{
	static const struct {
		uint16_t sport, dport;
		size_t payload;
		uint16_t csum;
		size_t cap;
		const char *want; /* NULL: refused */
	} cases[] = {
		{ 1234, 53, 0, 0xabcd, 8, "04d20035 0008abcd" },
		{ 1234, 53, 4, 0, 9, "04d20035 000cffff" },
		{ 65535, 1, 65527, 1, 8, "ffff0001 ffff0001" },
		{ 1, 1, 65528, 1, 8, NULL },
		{ 1, 1, SIZE_MAX, 1, 8, NULL },
		{ 1, 1, 0, 1, 7, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t want[UDP_HLEN], out[UDP_HLEN + 1];
		struct wr w = wr_init(out, cases[i].cap);

		udp_hdr_put(&w, cases[i].sport, cases[i].dport, cases[i].payload, cases[i].csum);
		assert_int_equal(wr_ok(&w), cases[i].want != NULL);
		if (!cases[i].want)
			continue;
		hex_bytes(cases[i].want, want, sizeof(want));
		assert_int_equal(wr_len(&w), UDP_HLEN);
		assert_memory_equal(out, want, UDP_HLEN);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_cases),
		cmocka_unit_test(put_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
