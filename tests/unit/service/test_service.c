/* SPDX-License-Identifier: MIT */
/* Which frames are for a service at all, and the bounds of what it reads and writes. */
#include "expect.h"

#define ETH4 BCAST_MAC GUEST_MAC "0800 "
#define ETH6 "333300000001 " GUEST_MAC "86dd "
#define IP4(frag, proto) "4500 0000 0000 " frag " 40 " proto " 0000 " GUEST4 BCAST4
#define IP6(next) "60000000 0000 " next " ff fe80 00*13 02 ff02 00*13 01 "
#define BOOTP "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*192 63825363 "
#define RS "85 00 0000 00000000 "

static void verdicts(void **state)
{
	static const struct {
		const char *what, *ask;
		enum service_verdict want;
	} cases[] = {
		{ "DHCP", ETH4 IP4("4000", "11") "0044 0043 0000 0000 " BOOTP "350101 ff", SERVICE_REPLY },
		{ "DHCP in TCP", ETH4 IP4("4000", "06") "0044 0043 0000 0000 " BOOTP "350101 ff", SERVICE_NOT_MINE },
		{ "DHCP to a client", ETH4 IP4("4000", "11") "0043 0044 0000 0000 " BOOTP "350101 ff", SERVICE_NOT_MINE },
		{ "DHCP in a fragment", ETH4 IP4("2000", "11") "0044 0043 0000 0000 " BOOTP "350101 ff", SERVICE_NOT_MINE },
		{ "DNS", ETH4 IP4("4000", "11") "0044 0035 0000 0000 00*12", SERVICE_NOT_MINE },
		{ "echo", ETH4 IP4("4000", "01") "0800 0000 00010001", SERVICE_NOT_MINE },
		{ "router solicitation", ETH6 IP6("3a") RS, SERVICE_REPLY },
		{ "behind options", ETH6 IP6("3c") "3a00 0104 00000000 " RS, SERVICE_REPLY },
		{ "in a fragment", ETH6 IP6("2c") "3a00 0001 00000001 " RS, SERVICE_NOT_MINE },
		{ "echo 6", ETH6 IP6("3a") "8000 0000 00010001", SERVICE_NOT_MINE },
		{ "listener report", ETH6 IP6("3a") "8f00 0000 00000000", SERVICE_NOT_MINE },
		{ "DHCPv6 to a client", ETH6 IP6("11") "0223 0222 0000 0000 0b000001 ", SERVICE_NOT_MINE },
		{ "DHCPv6", ETH6 IP6("11") "0222 0223 0000 0000 0b000001 ", SERVICE_REPLY },
		{ "other ethertype", BCAST_MAC GUEST_MAC "88cc 0000", SERVICE_NOT_MINE },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t in[2048];
		size_t len = kit_hex(cases[i].ask, in, sizeof(in));
		struct kit_reply r = { 0 };

		/* By hand, as these have extension headers and protocols that kit_seal() does not know. */
		if (in[12] == 0x08) {
			kit_set16(in + 16, len - 14);
			kit_set16(in + 38, len - 34);
		} else {
			kit_set16(in + 18, len - 54);
			if (in[20] == 0x11)
				kit_set16(in + 58, len - 54);
		}
		if (kit_ask(&c, in, len, &r) && cases[i].want != SERVICE_NOT_MINE)
			fail_msg("%s: not parsed", cases[i].what);
		if (r.v != cases[i].want)
			fail_msg("%s: verdict %d", cases[i].what, r.v);
		if (r.v == SERVICE_REPLY)
			assert_null(kit_reply_fault(&c, r.f, r.len));
	}
}

/* Longer than what is looked at: bytes behind are not read, a message that needs them is dropped. */
static void too_long(void **state)
{
	struct guestconf c = kit_conf();
	struct pkt p;
	uint8_t in[2048] = { 0 }, out[SERVICE_FRAME_MAX];
	uint8_t *exact = malloc(SERVICE_FRAME_MAX);
	size_t len = sizeof(in);
	struct wr w = wr_init(out, sizeof(out));

	assert_non_null(exact);
	(void)kit_hex(ETH4 IP4("4000", "11") "0044 0043 0000 0000 " BOOTP "350101 ff", in, sizeof(in));
	kit_seal(in, len);
	memcpy(exact, in, SERVICE_FRAME_MAX);
	p.head_len = sizeof(p.head);
	memcpy(p.head, in, sizeof(p.head));
	assert_int_equal(pkt_parse(&p, len), 0);
	assert_int_equal(service_input(&c, &p, exact, len, &w), SERVICE_DROP);
	free(exact);
}

/* Whatever the room, a reply is whole or is not there. */
static void small_room(void **state)
{
	static const char *const asks[] = {
		ETH4 IP4("4000", "11") "0044 0043 0000 0000 " BOOTP "350101 ff",
		ETH6 IP6("3a") RS,
		ETH6 IP6("3a") "87 00 0000 00000000 fe80 00*13 01",
		ETH6 IP6("11") "0222 0223 0000 0000 0b000001 ",
		BCAST_MAC GUEST_MAC "0806 0001 0800 06 04 0001 " GUEST_MAC GUEST4 "00*6 " OUR4,
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
		uint8_t in[2048];
		size_t len = kit_hex(asks[i], in, sizeof(in));
		struct kit_reply full = { 0 };
		struct pkt p = { .head_len = (uint16_t)MIN(len, (size_t)PKT_HEAD_MAX) };

		kit_seal(in, len);
		memcpy(p.head, in, p.head_len);
		assert_int_equal(kit_ask(&c, in, len, &full), 0);
		assert_int_equal(full.v, SERVICE_REPLY);
		assert_int_equal(pkt_parse(&p, len), 0);
		for (size_t room = 0; room <= full.len; room++) {
			uint8_t *out = malloc(room ? room : 1);
			struct wr w = wr_init(out, room);
			enum service_verdict v = service_input(&c, &p, in, len, &w);

			assert_int_equal(v, room < full.len ? SERVICE_DROP : SERVICE_REPLY);
			assert_int_equal(wr_len(&w), room < full.len ? 0 : full.len);
			free(out);
		}
	}
}

/* Who has an address of the guest's: nothing where that can't be asked. */
static void questions(void **state)
{
	const struct addr from4 = ADDR4_INIT(192, 0, 2, 9), from6 = { .b = { 0x20, 0x01, 0x0d, 0xb8, [13] = 0x12, 0x34, 0x56 } };
	static const char arp[] = BCAST_MAC OUR_MAC "0806 0001 0800 06 04 0001 " OUR_MAC OUR4 "00*6 c0000209";
	static const char ns[] = "3333ff123456 " OUR_MAC "86dd 60000000 0000 3a ff " OUR_LL6 "ff02 00*9 01ff 123456 "
				 "87 00 0000 00000000 20010db8 00*9 123456 0101 " OUR_MAC;
	const struct {
		const struct addr *target;
		bool v4, v6, ndp;
		const char *want;
	} cases[] = {
		{ &from4, true, true, true, arp },      { &from4, true, false, true, arp },  { &from4, false, true, true, NULL },
		{ &from6, true, true, true, ns },       { &from6, true, false, true, NULL }, { &from6, true, true, false, NULL },
		{ &addr_any6, true, true, true, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guestconf c = kit_conf();
		uint8_t got[SERVICE_FRAME_MAX], want[128] = { 0 };
		struct wr w = wr_init(got, sizeof(got));
		size_t len = cases[i].want ? kit_hex(cases[i].want, want, sizeof(want)) : 0;

		c.v4 = cases[i].v4;
		c.v6 = cases[i].v6;
		c.ndp = cases[i].ndp;
		service_ask(&c, cases[i].target, &w);
		kit_seal(want, len);
		expect_same("question", got, wr_len(&w), want, len ? MAX(len, (size_t)60) : 0);
		/* Without an address to ask from. */
		w = wr_init(got, sizeof(got));
		c.our4 = c.our_ll6 = addr_any6;
		service_ask(&c, cases[i].target, &w);
		assert_int_equal(wr_len(&w), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(too_long),
		cmocka_unit_test(small_room),
		cmocka_unit_test(questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
