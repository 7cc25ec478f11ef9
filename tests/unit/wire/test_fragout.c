/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rd.h"
#include "wire/fragout.h"

static const struct ip_tx ip4 = {
	.src = ADDR4_INIT(10, 0, 0, 1), .dst = ADDR4_INIT(10, 0, 0, 2), .proto = 17, .ttl = 63, .tos = 4
};
static const struct ip_tx ip6 = {
	.src = { .b = { 0xfe, 0x80, [15] = 1 } }, .dst = { .b = { 0xfe, 0x80, [15] = 2 } }, .proto = 17, .ttl = 63, .tos = 4
};

struct head {
	size_t hlen, len, off;
	bool more;
	uint32_t id;
};

static struct head read4(const uint8_t *p, size_t len)
{
	struct rd r = rd_init(p, len);
	struct head h = { .hlen = 20 };
	uint32_t sum = 0;
	uint16_t w;

	assert_int_equal(len, 20);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	assert_int_equal(rd_be16(&r), 0x4504);
	h.len = rd_be16(&r) - 20u;
	h.id = rd_be16(&r);
	w = rd_be16(&r);
	assert_int_equal(w & 0xc000, 0);
	h.more = w & 0x2000;
	h.off = (w & 0x1fff) * 8u;
	assert_int_equal(rd_be16(&r), 63 << 8 | 17);
	rd_skip(&r, 2);
	assert_int_equal(rd_be32(&r), 0x0a000001);
	assert_int_equal(rd_be32(&r), 0x0a000002);
	return h;
}

static struct head read6(const uint8_t *p, size_t len)
{
	struct rd r = rd_init(p, len);
	struct head h = { .hlen = 48 };
	uint16_t w;

	assert_int_equal(len, 48);
	assert_int_equal(rd_be32(&r), 0x60400000);
	h.len = rd_be16(&r) - 8u;
	assert_int_equal(rd_u8(&r), 44);
	assert_int_equal(rd_u8(&r), 63);
	assert_memory_equal(rd_bytes(&r, 16), ip6.src.b, 16);
	assert_memory_equal(rd_bytes(&r, 16), ip6.dst.b, 16);
	assert_int_equal(rd_be16(&r), 17 << 8);
	w = rd_be16(&r);
	assert_int_equal(w & 6, 0);
	h.more = w & 1;
	h.off = w & 0xfff8;
	h.id = rd_be32(&r);
	return h;
}

static void cut(const struct ip_tx *ip, size_t len, size_t mtu)
{
	bool v4 = addr_is4(&ip->src);
	size_t at = 0, n = 0, off, part;
	struct fragout f;
	uint8_t buf[64];
	bool more = true;

	assert_int_equal(fragout_init(&f, ip, 0x1234abcd, len, mtu), 0);
	for (;;) {
		struct wr w = wr_init(buf, sizeof(buf));
		struct head h;

		if (!fragout_next(&f, &w, &off, &part))
			break;
		h = v4 ? read4(buf, wr_len(&w)) : read6(buf, wr_len(&w));
		assert_true(more);
		more = h.more;
		assert_int_equal(h.id, v4 ? 0xabcd : 0x1234abcd);
		assert_int_equal(h.off, at);
		assert_int_equal(off, at);
		assert_int_equal(h.len, part);
		assert_true(h.hlen + part <= mtu);
		/* As long as can be, so that there is none too many. */
		if (more)
			assert_true(part % 8 == 0 && h.hlen + part + 8 > mtu);
		at += part;
		n++;
	}
	assert_false(more);
	assert_int_equal(at, len);
	if (len + ip_hlen(&ip->src) > mtu)
		assert_int_equal(fragout_count(&ip->src, len, mtu), n);
	else
		assert_int_equal(fragout_count(&ip->src, len, mtu), 1);
}

static void all_sizes(void **state)
{
	static const size_t mtu[] = { 68, 576, 1280, 1281, 1499, 1500, 9000, 65520, 65535 };

	for (unsigned m = 0; m < ARRAY_SIZE(mtu); m++) {
		for (size_t len = 1; len < 3100; len += 7) {
			cut(&ip4, len, mtu[m]);
			cut(&ip6, len, mtu[m]);
		}
		cut(&ip4, 65515, mtu[m]);
		cut(&ip6, 65515, mtu[m]);
		cut(&ip6, 65535, mtu[m]);
	}
}

static void refused(void **state)
{
	struct ip_tx mixed = { .src = ip4.src, .dst = ip6.dst };
	struct fragout f;

	assert_int_equal(fragout_init(&f, &ip4, 1, 65516, 1500), -EMSGSIZE);
	assert_int_equal(fragout_init(&f, &ip6, 1, 65536, 1500), -EMSGSIZE);
	assert_int_equal(fragout_init(&f, &ip4, 1, 100, 27), -EMSGSIZE);
	assert_int_equal(fragout_init(&f, &ip6, 1, 100, 55), -EMSGSIZE);
	assert_int_equal(fragout_init(&f, &ip6, 1, 100, 0), -EMSGSIZE);
	assert_int_equal(fragout_init(&f, &mixed, 1, 100, 1500), -EMSGSIZE);
	assert_int_equal(fragout_count(&ip4.src, 100, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sizes),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
