/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/bitmap.h"

/* Against one bool for each port. */
static void test_all_ports(void **state)
{
	static struct portmap m;
	static bool twin[PORTS];
	uint32_t s = 3;
	unsigned i;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < 100000; i++) {
		uint16_t port;

		s ^= s << 13;
		s ^= s >> 17;
		s ^= s << 5;
		port = (uint16_t)(s >> 8);
		twin[port] = s & 1;
		if (s & 1)
			portmap_set(&m, port);
		else
			portmap_clear(&m, port);
	}
	for (i = 0; i < PORTS; i++)
		assert_int_equal(portmap_has(&m, (uint16_t)i), twin[i]);
}

static void test_edges(void **state)
{
	static const uint16_t ports[] = { 0, 1, 63, 64, 65, 32767, 32768, 65534, 65535 };
	static struct portmap m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ports); i++) {
		unsigned p, n = 0;

		portmap_set(&m, ports[i]);
		portmap_set(&m, ports[i]);
		for (p = 0; p < PORTS; p++)
			n += portmap_has(&m, (uint16_t)p);
		assert_int_equal(n, 1);
		assert_true(portmap_has(&m, ports[i]));
		portmap_clear(&m, ports[i]);
		portmap_clear(&m, ports[i]);
		assert_false(portmap_has(&m, ports[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ports),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
