/* SPDX-License-Identifier: MIT */
/* What the tests of the services do not reach: the option walk by itself, and the bounds of the DNS search list option. */
#include "wire/nd.h"

#include <errno.h>

#include "frames.h"

static void option_walk(void **state)
{
	static const struct {
		const char *bytes;
		unsigned n; /* options before the end or the error */
		int err;
		size_t last; /* body of the last one */
	} cases[] = {
		{ "", 0, 0, 0 },
		{ "0101 000000000000", 1, 0, 6 },
		{ "0101 000000000000 0502 00000000000000000000 00000000", 2, 0, 14 },
		{ "01", 0, -EBADMSG, 0 },
		{ "0100", 0, -EBADMSG, 0 },
		{ "0100 000000000000", 0, -EBADMSG, 0 },
		{ "0101 0000000000", 0, -EBADMSG, 0 },
		{ "0101 000000000000 05ff 00000000", 1, -EBADMSG, 6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t b[64];
		struct rd r = rd_init(b, hex_bytes(cases[i].bytes, b, sizeof(b)));
		struct nd_opt o = { .type = 99 };
		unsigned n = 0;
		int err = 0;

		while (rd_left(&r) && !(err = nd_opt_next(&r, &o)))
			n++;
		assert_int_equal(n, cases[i].n);
		assert_int_equal(err, cases[i].err);
		if (n)
			assert_int_equal(o.body.len, cases[i].last);
		else
			assert_int_equal(o.type, 99);
	}
}

/* One name of every length in every room: nothing, or whole units with less than one unit of padding. */
static void search_list(void **state)
{
	char name[1][DNSNAME_TEXT_MAX] = { "" };

	for (size_t text = 1; text <= 60; text++) {
		name[0][text - 1] = 'x';
		for (size_t room = 0; room < 100; room++) {
			uint8_t out[128];
			struct wr w = wr_init(out, sizeof(out));
			size_t want = 8 + (text + 2 + 7) / 8 * 8;

			nd_opt_dnssl_put(&w, (const char(*)[DNSNAME_TEXT_MAX])name, 1, room);
			assert_true(wr_ok(&w));
			assert_int_equal(wr_len(&w), want <= room ? want : 0);
			if (wr_len(&w)) {
				assert_int_equal(out[0], 31);
				assert_int_equal(out[1] * 8, want);
				assert_int_equal(out[8], text);
				for (size_t i = 8 + 1 + text; i < want; i++)
					assert_int_equal(out[i], 0);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(option_walk),
		cmocka_unit_test(search_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
