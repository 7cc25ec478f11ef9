/* SPDX-License-Identifier: MIT */
#include "expect.h"

#define GUEST_LL "fe80 00*6 5054 00ff fe12 3456 "
#define SERVERS "ff02 00*11 01 00 02 "
#define UDP6(src, dst) "86dd 60000000 0000 11 40 " src dst
#define OUT_TO(dst) "333300010002 " GUEST_MAC UDP6(GUEST_LL, dst) "0222 0223 0000 0000 "
#define OUT OUT_TO(SERVERS)
#define IN GUEST_MAC OUR_MAC UDP6(OUR_LL6, GUEST_LL) "0223 0222 0000 0000 "

#define XID "abcdef "
#define CLIENT "0001 000a 0003 0001 " GUEST_MAC
#define SERVER "0002 000a 0003 0001 " OUR_MAC
#define OTHER_SERVER "0002 000a 0003 0001 020000000001 "
#define IDS CLIENT SERVER
#define PREF "0007 0001 ff "
#define RAPID "000e 0000 "
#define STATUS(n) "000d 0002 " n " "
#define ELAPSED "0008 0002 0000 "
#define ORO0 "0006 0000 "

#define IA_NA(id, times, opts, len) "0003 " len " 0000000" id " " times opts
#define T0 "00000000 00000000 "
#define INF "ffffffff ffffffff "
#define ADDR "20010db8 00*11 02 "
#define FAR "20010db8 ffff 00*9 02 "
#define IAADDR(a, times) "0005 0018 " a times
#define ASK_IA(id) IA_NA(id, T0, "", "000c")
#define ASK_ADDR(id, a) IA_NA(id, T0, IAADDR(a, T0), "0028")
#define GIVE(id) IA_NA(id, INF, IAADDR(ADDR, INF), "0028")
#define REFUSE(id, status) IA_NA(id, T0, STATUS(status), "0012")

#define DNS "0017 0010 20010db8 00*11 53 "
#define SEARCH "0018 0015 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00 "
#define CONFIG DNS SEARCH
#define FQDN(flags) "0027 0014 " flags " 05 6775657374 07 6578616d706c65 03 6f7267 00 "

static void leases(void **state)
{
	static const struct {
		const char *what, *ask, *want;
	} cases[] = {
		{ "solicit", OUT "01 " XID CLIENT ELAPSED ASK_IA("1"), IN "02 " XID IDS PREF GIVE("1") CONFIG },
		{ "solicit, rapid commit", OUT "01 " XID RAPID CLIENT ASK_IA("1"), IN "07 " XID IDS RAPID GIVE("1") CONFIG },
		{ "solicit with a hint", OUT "01 " XID CLIENT ASK_ADDR("1", FAR), IN "02 " XID IDS PREF GIVE("1") CONFIG },
		{ "solicit for two", OUT "01 " XID CLIENT ASK_IA("1") ASK_IA("2"),
		  IN "02 " XID IDS PREF GIVE("1") REFUSE("2", "0002") CONFIG },
		{ "solicit for nothing", OUT "01 " XID CLIENT, IN "02 " XID IDS PREF CONFIG },
		{ "solicit for others", OUT "01 " XID CLIENT "0004 0004 00000007 0019 000c 00000008 " T0,
		  IN "02 " XID IDS PREF "0004 000a 00000007 " STATUS("0002") "0019 0012 00000008 " T0 STATUS("0006") CONFIG },
		{ "solicit to one server", OUT "01 " XID CLIENT SERVER ASK_IA("1"), NULL },
		{ "solicit from no one", OUT "01 " XID ASK_IA("1"), NULL },
		{ "request", OUT "03 " XID IDS ASK_ADDR("1", ADDR), IN "07 " XID IDS GIVE("1") CONFIG },
		{ "request without address", OUT "03 " XID IDS ASK_IA("1"), IN "07 " XID IDS GIVE("1") CONFIG },
		{ "request for another", OUT "03 " XID IDS ASK_ADDR("1", FAR), IN "07 " XID IDS REFUSE("1", "0004") CONFIG },
		{ "request to another server", OUT "03 " XID CLIENT OTHER_SERVER ASK_IA("1"), NULL },
		{ "request to a server of a longer name", OUT "03 " XID CLIENT "0002 000b 0003 0001 " OUR_MAC "00 " ASK_IA("1"),
		  NULL },
		{ "request to no server", OUT "03 " XID CLIENT ASK_IA("1"), NULL },
		{ "request from no one", OUT "03 " XID SERVER ASK_IA("1"), NULL },
		{ "confirm", OUT "04 " XID CLIENT ASK_ADDR("1", ADDR), IN "07 " XID IDS STATUS("0000") },
		{ "confirm another", OUT "04 " XID CLIENT ASK_ADDR("1", FAR), IN "07 " XID IDS STATUS("0004") },
		{ "confirm one of two", OUT "04 " XID CLIENT ASK_ADDR("1", ADDR) ASK_ADDR("2", FAR),
		  IN "07 " XID IDS STATUS("0004") },
		{ "confirm nothing", OUT "04 " XID CLIENT ASK_IA("1"), NULL },
		{ "confirm at a server", OUT "04 " XID IDS ASK_ADDR("1", ADDR), NULL },
		{ "confirm a cut address", OUT "04 " XID CLIENT IA_NA("1", T0, "0005 0018 00*16 ", "0020"), NULL },
		{ "renew", OUT "05 " XID IDS ASK_ADDR("1", ADDR), IN "07 " XID IDS GIVE("1") CONFIG },
		{ "renew without address", OUT "05 " XID IDS ASK_IA("1"), IN "07 " XID IDS GIVE("1") CONFIG },
		{ "renew another", OUT "05 " XID IDS ASK_ADDR("1", FAR), IN "07 " XID IDS REFUSE("1", "0003") CONFIG },
		{ "renew both", OUT "05 " XID IDS IA_NA("1", T0, IAADDR(FAR, INF) IAADDR(ADDR, INF), "0044"),
		  IN "07 " XID IDS IA_NA("1", INF, IAADDR(ADDR, INF) IAADDR(FAR, T0), "0044") CONFIG },
		{ "renew at no server", OUT "05 " XID CLIENT ASK_ADDR("1", ADDR), NULL },
		{ "rebind", OUT "06 " XID CLIENT ASK_ADDR("1", ADDR), IN "07 " XID IDS GIVE("1") CONFIG },
		{ "rebind another", OUT "06 " XID CLIENT ASK_ADDR("1", FAR),
		  IN "07 " XID IDS IA_NA("1", T0, IAADDR(FAR, T0), "0028") CONFIG },
		{ "rebind at a server", OUT "06 " XID IDS ASK_ADDR("1", ADDR), NULL },
		{ "release", OUT "08 " XID IDS ASK_ADDR("1", ADDR), IN "07 " XID IDS STATUS("0000") },
		{ "release another", OUT "08 " XID IDS ASK_ADDR("1", FAR), IN "07 " XID IDS STATUS("0000") REFUSE("1", "0003") },
		{ "release a prefix", OUT "08 " XID IDS "0019 000c 00000008 " T0,
		  IN "07 " XID IDS STATUS("0000") "0019 0012 00000008 " T0 STATUS("0003") },
		{ "decline", OUT "09 " XID IDS ASK_ADDR("1", ADDR), IN "07 " XID IDS STATUS("0000") },
		{ "advertise", OUT "02 " XID IDS GIVE("1"), NULL },
		{ "reply", OUT "07 " XID IDS GIVE("1"), NULL },
		{ "reconfigure", OUT "0a " XID IDS, NULL },
		{ "relayed", OUT "0c 00 " GUEST_LL GUEST_LL, NULL },
		{ "unknown", OUT "00 " XID IDS, NULL },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, cases[i].want);
}

static void information(void **state)
{
	struct guestconf c = kit_conf();

	/* The second time there is no address to give: then this is all that is answered. */
	for (unsigned i = 0; i < 2; i++) {
		expect_reply(&c, "anonymous", OUT "0b " XID ELAPSED, IN "07 " XID SERVER CONFIG);
		expect_reply(&c, "with a name", OUT "0b " XID CLIENT, IN "07 " XID IDS CONFIG);
		expect_reply(&c, "to us", OUT "0b " XID IDS, IN "07 " XID IDS CONFIG);
		expect_reply(&c, "to another", OUT "0b " XID CLIENT OTHER_SERVER, NULL);
		expect_reply(&c, "with an IA", OUT "0b " XID CLIENT ASK_IA("1"), NULL);
		c.addr6 = addr_any6;
	}
	expect_reply(&c, "solicit", OUT "01 " XID CLIENT ASK_IA("1"), NULL);
	expect_reply(&c, "confirm", OUT "04 " XID CLIENT ASK_ADDR("1", "00*16 "), NULL);
}

static void configured(void **state)
{
	struct guestconf c = kit_conf();

	expect_reply(&c, "asked for one", OUT "0b " XID "0006 0002 0017 ", IN "07 " XID SERVER DNS);
	expect_reply(&c, "asked for the other", OUT "0b " XID "0006 0004 0020 0018 ", IN "07 " XID SERVER SEARCH);
	expect_reply(&c, "asked for nothing", OUT "0b " XID ORO0, IN "07 " XID SERVER);
	expect_reply(&c, "asked for the name", OUT "0b " XID "0006 0002 0027 ", IN "07 " XID SERVER FQDN("04"));
	expect_reply(&c, "name sent", OUT "0b " XID ORO0 "0027 0001 00 ", IN "07 " XID SERVER FQDN("04"));
	expect_reply(&c, "name sent, update wished", OUT "0b " XID ORO0 "0027 0003 01 01 78 ", IN "07 " XID SERVER FQDN("06"));
	expect_reply(&c, "name sent, no update wished", OUT "0b " XID ORO0 "0027 0001 04 ", IN "07 " XID SERVER FQDN("04"));
	c.fqdn[0] = 0;
	expect_reply(&c, "no name", OUT "0b " XID "0006 0002 0027 0027 0001 00 ", IN "07 " XID SERVER);
	c.dns = false;
	expect_reply(&c, "no DNS", OUT "0b " XID, IN "07 " XID SERVER SEARCH);
	c.search_on = false;
	expect_reply(&c, "no search list", OUT "0b " XID, IN "07 " XID SERVER);
	c = kit_conf();
	c.n_dns6 = c.n_search = 0;
	expect_reply(&c, "empty lists", OUT "0b " XID, IN "07 " XID SERVER);
	strcpy(c.search[0], "a..b");
	strcpy(c.search[1], "b.");
	c.n_search = 2;
	expect_reply(&c, "one name that is none", OUT "0b " XID, IN "07 " XID SERVER "0018 0003 01 62 00 ");
}

/* RFC 8415 18.3: what came by unicast is told to use multicast, or gets no answer. */
static void unicast(void **state)
{
	struct guestconf c = kit_conf();

	expect_reply(&c, "request", OUT_TO(OUR_LL6) "03 " XID IDS ASK_IA("1"), IN "07 " XID IDS STATUS("0005"));
	expect_reply(&c, "release", OUT_TO(OUR_LL6) "08 " XID IDS ASK_IA("1"), IN "07 " XID IDS STATUS("0005"));
	expect_reply(&c, "solicit", OUT_TO(OUR_LL6) "01 " XID CLIENT ASK_IA("1"), NULL);
	expect_reply(&c, "information", OUT_TO(OUR_LL6) "0b " XID, NULL);
	expect_verdict(&c, "another host", OUT_TO(FAR) "01 " XID CLIENT ASK_IA("1"), SERVICE_NOT_MINE);
}

static void bad_requests(void **state)
{
	static const struct {
		const char *what, *ask;
	} cases[] = {
		{ "header cut", OUT "01 abcd " },
		{ "nothing", OUT },
		{ "option header cut", OUT "01 " XID CLIENT "0003 00 " },
		{ "option past the end", OUT "01 " XID CLIENT "0003 000d 00000001 " T0 },
		{ "client of two", OUT "01 " XID "0001 0002 0003 " ASK_IA("1") },
		{ "client of 131", OUT "01 " XID "0001 0083 00*131 " ASK_IA("1") },
		{ "IA_NA of eleven", OUT "01 " XID CLIENT "0003 000b 00*11 " },
		{ "IA_TA of three", OUT "01 " XID CLIENT "0004 0003 00*3 " },
		{ "IA_PD of eleven", OUT "01 " XID CLIENT "0019 000b 00*11 " },
		{ "odd request list", OUT "01 " XID CLIENT ASK_IA("1") "0006 0003 001700 " },
		{ "rapid commit with a body", OUT "01 " XID CLIENT ASK_IA("1") "000e 0001 00 " },
		{ "empty name", OUT "01 " XID CLIENT ASK_IA("1") "0027 0000 " },
		{ "from a global address",
		  "333300010002 " GUEST_MAC UDP6("20010db8 00*11 02 ", SERVERS) "0222 0223 0000 0000 01 " XID CLIENT ASK_IA("1") },
		{ "from an IPv4-mapped address",
		  "333300010002 " GUEST_MAC UDP6("00*10 ffff a9fe 0002 ",
						 SERVERS) "0222 0223 0000 0000 01 " XID CLIENT ASK_IA("1") },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, NULL);
	/* An IA whose inside is broken is left out. */
	expect_reply(&c, "address cut", OUT "01 " XID CLIENT IA_NA("1", T0, "0005 0018 00*16 ", "0020") ASK_IA("2"),
		     IN "02 " XID IDS PREF GIVE("2") CONFIG);
	expect_reply(&c, "address short", OUT "01 " XID CLIENT IA_NA("1", T0, "0005 0010 00*16 ", "0020") ASK_IA("2"),
		     IN "02 " XID IDS PREF GIVE("2") CONFIG);
}

/* The longest search list leaves out whole names; more IAs than can be answered get no answer. */
static void sizes(void **state)
{
	struct guestconf c = kit_conf();
	struct kit_reply r = { 0 };
	uint8_t in[2048];
	char ask[8192] = OUT "06 " XID CLIENT;
	size_t len = kit_hex(OUT "01 " XID CLIENT ASK_IA("1"), in, sizeof(in));

	for (unsigned i = 0; i < GUESTCONF_SEARCH; i++) {
		for (unsigned k = 0; k < 253; k++)
			c.search[i][k] = k % 50 == 49 ? '.' : 'x';
	}
	c.n_search = GUESTCONF_SEARCH;
	c.n_dns6 = GUESTCONF_DNS;
	kit_seal(in, len);
	assert_int_equal(kit_ask(&c, in, len, &r), 0);
	assert_int_equal(r.v, SERVICE_REPLY);
	assert_null(kit_reply_fault(&c, r.f, r.len));
	assert_int_equal(r.len, 62 + 4 + 14 + 14 + 5 + 44 + 4 + 128 + 4 + 3 * 255);

	for (unsigned i = 0; i < 30; i++)
		strcat(ask, IA_NA("1", T0, IAADDR("00*16 ", T0), "0028"));
	assert_true(strlen(ask) < sizeof(ask) - 1);
	expect_reply(&c, "too many", ask, NULL);
}

static void off(void **state)
{
	static const char ask[] = OUT "01 " XID CLIENT ASK_IA("1");
	struct guestconf c = kit_conf();

	c.dhcp6 = false;
	expect_verdict(&c, "switched off", ask, SERVICE_NOT_MINE);
	c = kit_conf();
	c.v6 = false;
	expect_verdict(&c, "no IPv6", ask, SERVICE_DROP);
}

static void cut(void **state)
{
	struct guestconf c = kit_conf();

	expect_cuts(&c, "solicit", OUT "01 " XID CLIENT ELAPSED RAPID "0006 0004 0017 0018 " ASK_IA("1") "0027 0003 01 01 78 ",
		    62 + 18);
	expect_cuts(&c, "request", OUT "03 " XID IDS ASK_ADDR("1", ADDR), 62 + 32);
	expect_cuts(&c, "confirm", OUT "04 " XID CLIENT ASK_ADDR("1", ADDR), 62 + 4 + 14 + 44);
	expect_cuts(&c, "renew", OUT "05 " XID IDS ASK_ADDR("1", ADDR) ASK_ADDR("2", FAR), 62 + 32);
	expect_cuts(&c, "release", OUT "08 " XID IDS ASK_ADDR("1", ADDR), 62 + 32);
	expect_cuts(&c, "information", OUT "0b " XID CLIENT ELAPSED "0006 0004 0017 0018 ", 62 + 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leases),  cmocka_unit_test(information),  cmocka_unit_test(configured),
		cmocka_unit_test(unicast), cmocka_unit_test(bad_requests), cmocka_unit_test(sizes),
		cmocka_unit_test(off),     cmocka_unit_test(cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
