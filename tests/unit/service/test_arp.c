/* SPDX-License-Identifier: MIT */
#include "expect.h"

#define REQ BCAST_MAC GUEST_MAC "0806 0001 0800 06 04 0001 "
#define ANS GUEST_MAC OUR_MAC "0806 0001 0800 06 04 0002 " OUR_MAC
#define NOMAC "00*6 "
#define OTHER4 "cb007107 "

static void answers(void **state)
{
	static const struct {
		const char *what, *ask, *want;
	} cases[] = {
		{ "gateway", REQ GUEST_MAC GUEST4 NOMAC OUR4, ANS OUR4 GUEST_MAC GUEST4 },
		{ "anyone else", REQ GUEST_MAC GUEST4 NOMAC OTHER4, ANS OTHER4 GUEST_MAC GUEST4 },
		{ "padding behind it", REQ GUEST_MAC GUEST4 NOMAC OUR4 "ff*18", ANS OUR4 GUEST_MAC GUEST4 },
		{ "another sender behind the guest",
		  REQ "020000000009 "
		      "c0000209 " NOMAC OUR4,
		  ANS OUR4 "020000000009 "
			   "c0000209" },
		{ "guest with an address of its own choice", REQ GUEST_MAC "0a000005 " NOMAC "0a000001",
		  ANS "0a000001 " GUEST_MAC "0a000005" },
		{ "guest's own address", REQ GUEST_MAC GUEST4 NOMAC GUEST4, NULL },
		{ "guest's own address asked for by another", REQ GUEST_MAC OTHER4 NOMAC GUEST4, NULL },
		{ "announcement of another address", REQ GUEST_MAC OTHER4 NOMAC OTHER4, NULL },
		{ "probe of its own address", REQ GUEST_MAC ANY4 NOMAC GUEST4, NULL },
		{ "probe of a free address", REQ GUEST_MAC ANY4 NOMAC "a9fe0107", NULL },
		{ "probe of the gateway's", REQ GUEST_MAC ANY4 NOMAC OUR4, ANS OUR4 GUEST_MAC ANY4 },
		{ "0.0.0.0", REQ GUEST_MAC GUEST4 NOMAC ANY4, NULL },
		{ "0.0.0.0 from 0.0.0.0", REQ GUEST_MAC ANY4 NOMAC ANY4, NULL },
		{ "all zero", NOMAC NOMAC "0806 0001 0800 06 04 0001 00*20",
		  NOMAC OUR_MAC "0806 0001 0800 06 04 0002 " OUR_MAC "00*14" },
		{ "multicast", REQ GUEST_MAC GUEST4 NOMAC "e0000001", NULL },
		{ "broadcast", REQ GUEST_MAC GUEST4 NOMAC BCAST4, NULL },
		{ "a reply", BCAST_MAC GUEST_MAC "0806 0001 0800 06 04 0002 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
		{ "a reverse request", BCAST_MAC GUEST_MAC "0806 0001 0800 06 04 0003 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
		{ "hardware type", BCAST_MAC GUEST_MAC "0806 0006 0800 06 04 0001 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
		{ "protocol type", BCAST_MAC GUEST_MAC "0806 0001 86dd 06 04 0001 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
		{ "hardware length", BCAST_MAC GUEST_MAC "0806 0001 0800 05 04 0001 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
		{ "protocol length", BCAST_MAC GUEST_MAC "0806 0001 0800 06 10 0001 " GUEST_MAC GUEST4 NOMAC OUR4, NULL },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, cases[i].want);
}

static void cut(void **state)
{
	struct guestconf c = kit_conf();

	expect_cuts(&c, "request", REQ GUEST_MAC GUEST4 NOMAC OUR4, 42);
}

static void off(void **state)
{
	struct guestconf c = kit_conf();

	c.v4 = false;
	expect_reply(&c, "no IPv4", REQ GUEST_MAC GUEST4 NOMAC OUR4, NULL);
}

static void no_address(void **state)
{
	struct guestconf c = kit_conf();

	c.addr4 = c.gw4 = addr_any4;
	expect_reply(&c, "no address to spare", REQ GUEST_MAC GUEST4 NOMAC GUEST4, NULL);
	expect_reply(&c, "other", REQ GUEST_MAC GUEST4 NOMAC OTHER4, ANS OTHER4 GUEST_MAC GUEST4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(cut),
		cmocka_unit_test(off),
		cmocka_unit_test(no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
