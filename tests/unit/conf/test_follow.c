/* SPDX-License-Identifier: MIT */
#include "conf/follow.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct addr ip(const char *text)
{
	struct addr a = addr_any6;

	if (text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* Of a host with all there is. */
static struct follow full(void)
{
	struct follow f;

	memset(&f, 0, sizeof(f));
	f.v4.host = ip("192.0.2.2");
	f.v4.dns_forward = ip("192.0.2.1");
	f.v4.dns_host = ip("127.0.0.53");
	f.v4.n_dns = 2;
	f.v4.dns[0] = ip("192.0.2.1");
	f.v4.dns[1] = ip("198.51.100.53");
	f.v6.host = ip("2001:db8::2");
	f.v6.n_dns = GUESTCONF_DNS;
	for (unsigned i = 0; i < GUESTCONF_DNS; i++)
		f.v6.dns[i] = ip("2001:db8::53");
	f.n_search = 2;
	strcpy(f.search[0], "example.org");
	strcpy(f.search[1], "example.net");
	return f;
}

static void test_round(void **state)
{
	struct follow f = full(), now;
	struct guestconf g;
	struct nat n;

	memset(&g, 0xff, sizeof(g));
	memset(&n, 0, sizeof(n));
	n.v4.map_loopback = ip("192.0.2.1");
	g.addr4 = ip("192.0.2.15");
	assert_int_equal(follow_set(&f, &g, &n), 0);
	follow_get(&g, &n, &now);
	assert_memory_equal(&f, &now, sizeof(f));
	/* What is not told stays. */
	assert_true(addr_eq(&n.v4.map_loopback, &f.v4.dns_forward));
	assert_int_equal(g.addr4.b[15], 15);
	memset(&f, 0, sizeof(f));
	assert_int_equal(follow_set(&f, &g, &n), 0);
	assert_int_equal(g.n_dns4 + g.n_dns6 + g.n_search, 0);
}

enum part { HOST4, FORWARD4, DNS_HOST6, DNS4, DNS6, N_DNS4, N_DNS6, N_SEARCH, NAME, NAME_END };

static void spoil(struct follow *f, enum part part, const char *text)
{
	struct addr *a[] = { [HOST4] = &f->v4.host,
			     [FORWARD4] = &f->v4.dns_forward,
			     [DNS_HOST6] = &f->v6.dns_host,
			     [DNS4] = &f->v4.dns[1],
			     [DNS6] = &f->v6.dns[7] };

	switch (part) {
	case N_DNS4:
		f->v4.n_dns = GUESTCONF_DNS + 1;
		break;
	case N_DNS6:
		f->v6.n_dns = UINT32_MAX;
		break;
	case N_SEARCH:
		f->n_search = GUESTCONF_SEARCH + 1;
		break;
	case NAME:
		strcpy(f->search[1], text);
		break;
	case NAME_END:
		memset(f->search[1], 'a', sizeof(f->search[1]));
		break;
	default:
		*a[part] = ip(text);
	}
}

/* Each by itself is no change at all. */
static void test_refused(void **state)
{
	static const struct {
		enum part part;
		const char *text;
	} bad[] = {
		{ HOST4, "2001:db8::1" }, { HOST4, "0.0.0.0" },       { HOST4, "224.0.0.1" },
		{ FORWARD4, "::1" },      { DNS_HOST6, "127.0.0.1" }, { DNS_HOST6, "ff02::1" },
		{ DNS4, "2001:db8::1" },  { DNS4, "0.0.0.0" },        { DNS4, NULL },
		{ DNS6, NULL },           { DNS6, "192.0.2.1" },      { N_DNS4, NULL },
		{ N_DNS6, NULL },         { N_SEARCH, NULL },         { NAME, "" },
		{ NAME, "a..b" },         { NAME, "two words" },      { NAME, "a\nb" },
		{ NAME_END, NULL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct follow f = full(), before, after;
		struct guestconf g = { .n_dns4 = 1, .dns4 = { ip("192.0.2.9") } };
		struct nat n = { .v4.host = ip("192.0.2.8") };

		follow_get(&g, &n, &before);
		spoil(&f, bad[i].part, bad[i].text);
		assert_int_equal(follow_set(&f, &g, &n), -EBADMSG);
		follow_get(&g, &n, &after);
		assert_memory_equal(&before, &after, sizeof(before));
	}
}

static void test_keep(void **state)
{
	struct follow from = full(), f;

	memset(&f, 0, sizeof(f));
	f.v4.host = ip("203.0.113.7");
	f.v6.host = ip("2001:db8::7");
	follow_keep_dns(&from, &f);
	from.v4.host = ip("203.0.113.7");
	from.v6.host = ip("2001:db8::7");
	assert_memory_equal(&from, &f, sizeof(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round), cmocka_unit_test(test_refused),
					    cmocka_unit_test(test_keep) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
