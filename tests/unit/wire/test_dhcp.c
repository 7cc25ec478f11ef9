/* SPDX-License-Identifier: MIT */
/* The message as it is read, and long options; what is sent is looked at by the tests of the services. */
#include "wire/dhcp.h"

#include <errno.h>

#include "frames.h"

#define FIXED_LEN 240

/* A request with the options given as text. */
static size_t request(const char *opts, uint8_t *b, size_t cap)
{
	static const uint8_t head[] = { 1, 1, 6,  0, 0xde, 0xad, 0xbe, 0xef, 0, 3, 0x80, 0, 10, 0,
					0, 1, 10, 0, 0,    2,    10,   0,    0, 3, 10,   0, 0,  4 };
	static const uint8_t cookie[] = { 0x63, 0x82, 0x53, 0x63 };

	memset(b, 0, FIXED_LEN);
	memcpy(b, head, sizeof(head));
	memset(b + 28, 0x52, 6);
	memcpy(b + 236, cookie, sizeof(cookie));
	return FIXED_LEN + hex_bytes(opts, b + FIXED_LEN, cap - FIXED_LEN);
}

static void read_whole(void **state)
{
	static const uint8_t chaddr[DHCP_CHADDR_LEN] = { 0x52, 0x52, 0x52, 0x52, 0x52, 0x52 };
	struct addr ci = ADDR4_INIT(10, 0, 0, 1), yi = ADDR4_INIT(10, 0, 0, 2), gi = ADDR4_INIT(10, 0, 0, 4);
	struct addr requested = ADDR4_INIT(192, 0, 2, 2), server = ADDR4_INIT(192, 0, 2, 1);
	struct dhcp_msg m;
	uint8_t b[512];
	struct rd r = rd_init(b, request("350103 3204c0000202 3604c0000201 37020103 370106 390205dc 3d0301aabb 5000 5103050000 ff",
					 b, sizeof(b)));

	assert_int_equal(dhcp_read(&r, &m), 0);
	assert_true(m.h.op == 1 && m.h.htype == 1 && m.h.hlen == 6 && m.h.xid == 0xdeadbeef && m.h.flags == 0x8000);
	assert_true(addr_eq(&m.h.ciaddr, &ci) && addr_eq(&m.h.yiaddr, &yi) && addr_eq(&m.h.giaddr, &gi));
	assert_memory_equal(m.h.chaddr, chaddr, sizeof(chaddr));
	assert_int_equal(m.type, DHCP_REQUEST);
	assert_true(m.has_requested && addr_eq(&m.requested, &requested));
	assert_true(m.has_server && addr_eq(&m.server, &server));
	assert_true(m.has_params && m.n_params == 3 && m.params[0] == 1 && m.params[1] == 3 && m.params[2] == 6);
	assert_int_equal(m.max_size, 1500);
	assert_true(m.client_id.len == 3 && m.client_id.p[2] == 0xbb);
	assert_true(m.rapid_commit && m.has_fqdn && m.fqdn_flags == 5);
	assert_int_equal(m.overload, 0);
}

/* More in the request list than there is room for: the first 255. */
static void read_long_list(void **state)
{
	struct dhcp_msg m;
	uint8_t b[FIXED_LEN + 2 * 257] = { 0 };
	struct rd r = rd_init(b, sizeof(b));

	(void)request("", b, sizeof(b));
	for (size_t i = 0; i < 2; i++) {
		uint8_t *o = b + FIXED_LEN + i * 257;

		o[0] = 55;
		o[1] = 255;
		memset(o + 2, (int)i + 1, 255);
	}
	assert_int_equal(dhcp_read(&r, &m), 0);
	assert_int_equal(m.n_params, 255);
	assert_int_equal(m.params[0], 1);
	assert_int_equal(m.params[254], 1);
}

/* Cut anywhere before the cookie it is no message; behind it, an option is there whole or spoils it. */
static void read_cut(void **state)
{
	uint8_t b[512];
	size_t len = request("350101 370401030677 ff", b, sizeof(b));

	for (size_t n = 0; n < len; n++) {
		uint8_t *exact = malloc(n ? n : 1);
		struct rd r = rd_init(exact, n);
		struct dhcp_msg m = { .type = 99 };
		bool whole = (n >= 236 && n <= 240) || n == 243 || n == 249;

		assert_non_null(exact);
		memcpy(exact, b, n);
		assert_int_equal(dhcp_read(&r, &m), whole ? 0 : -EBADMSG);
		assert_int_equal(m.type, !whole ? 99 : n < 243 ? DHCP_BOOTP : DHCP_DISCOVER);
		free(exact);
	}
}

static void long_options(void **state)
{
	static const size_t lens[] = { 0, 1, 254, 255, 256, 510, 511, 1000 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		uint8_t body[1000], out[1100], again[1000];
		size_t len = lens[i], n = 0, at = 0;
		struct wr w = wr_init(out, sizeof(out));

		for (size_t k = 0; k < len; k++)
			body[k] = (uint8_t)(k * 7 + 1);
		dhcp_opt_long_put(&w, 119, body, len);
		assert_true(wr_ok(&w));
		assert_int_equal(wr_len(&w), dhcp_opt_long_len(len));
		while (at < wr_len(&w)) {
			assert_int_equal(out[at], 119);
			memcpy(again + n, out + at + 2, out[at + 1]);
			n += out[at + 1];
			at += 2u + out[at + 1];
		}
		assert_int_equal(n, len);
		assert_memory_equal(again, body, len);
	}
}

static void too_long(void **state)
{
	uint8_t body[256] = { 0 }, out[512];
	struct wr w = wr_init(out, sizeof(out));

	dhcp_opt_put(&w, 12, body, 256);
	assert_false(wr_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_whole),   cmocka_unit_test(read_long_list), cmocka_unit_test(read_cut),
		cmocka_unit_test(long_options), cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
