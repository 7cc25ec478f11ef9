/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conf/val.h"

static struct addr A(const char *s) {
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void
test_addr(void **state)
{
	static const struct {
		const char *s;
		unsigned deny;
		int want;
	} t[] = {
		{ "10.0.0.1", VAL_DENY_ALL, 0 },
		{ "10.0.2.0", VAL_DENY_ALL, 0 },
		{ "169.254.2.2", VAL_DENY_ALL, 0 },
		{ "fe80::1", VAL_DENY_ALL, 0 },
		{ "2001:db8::", VAL_DENY_ALL, 0 },
		{ "10.0.0.300", 0, -EINVAL },
		{ "10.0.0", 0, -EINVAL },
		{ "", 0, -EINVAL },
		{ "10.0.0.1 ", 0, -EINVAL },
		{ "fe80::1%eth0", 0, -EINVAL },
		{ "[fe80::1]", 0, -EINVAL },
		{ "0.0.0.0", 0, 0 },
		{ "0.0.0.0", VAL_DENY_ANY, -EINVAL },
		{ "::", VAL_DENY_ANY, -EINVAL },
		{ "127.0.0.53", VAL_DENY_ANY | VAL_DENY_MULTI, 0 },
		{ "127.0.0.53", VAL_DENY_LOOPBACK, -EINVAL },
		{ "::1", VAL_DENY_LOOPBACK, -EINVAL },
		{ "224.0.0.1", VAL_DENY_MULTI, -EINVAL },
		{ "ff02::1", VAL_DENY_MULTI, -EINVAL },
		{ "255.255.255.255", VAL_DENY_MULTI, -EINVAL },
		{ "255.255.255.255", VAL_DENY_LOOPBACK, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a, want;

		assert_int_equal(val_addr(t[i].s, t[i].deny, &a), t[i].want);
		if (t[i].want)
			continue;
		want = A(t[i].s);
		assert_true(addr_eq(&a, &want));
	}
}

static void test_addr_plen(void **state)
{
	static const struct {
		const char *s;
		int want;
		const char *addr;
		unsigned plen;
	} t[] = {
		{ "10.0.0.1", 0, "10.0.0.1", 0 },
		{ "10.0.0.1/24", 0, "10.0.0.1", 24 },
		{ "10.0.0.1/32", 0, "10.0.0.1", 32 },
		{ "fd00::2/128", 0, "fd00::2", 128 },
		{ "fd00::2/64", 0, "fd00::2", 64 },
		{ "10.0.0.1/33", -EINVAL },
		{ "10.0.0.1/0", -EINVAL },
		{ "10.0.0.1/", -EINVAL },
		{ "10.0.0.1/24/24", -EINVAL },
		{ "10.0.0.1/255.255.255.0", -EINVAL },
		{ "fd00::2/129", -EINVAL },
		{ "/24", -EINVAL },
		{ "127.0.0.1/8", -EINVAL },
		{ "0000000000000000000000000000000000000000000000000000000000::1", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a, want;
		unsigned plen;

		assert_int_equal(val_addr_plen(t[i].s, &a, &plen), t[i].want);
		if (t[i].want)
			continue;
		want = A(t[i].addr);
		assert_true(addr_eq(&a, &want));
		assert_int_equal(plen, t[i].plen);
	}
}

static void test_netmask(void **state)
{
	static const struct {
		const char *s;
		unsigned want; /* 0: refused */
	} t[] = {
		{ "24", 24 },          { "1", 1 },
		{ "32", 32 },          { "255.255.255.0", 24 },
		{ "255.255.0.0", 16 }, { "255.255.255.255", 32 },
		{ "128.0.0.0", 1 },    { "0", 0 },
		{ "33", 0 },           { "0.0.0.0", 0 },
		{ "255.0.255.0", 0 },  { "255.255.255", 0 },
		{ "/24", 0 },          { "", 0 },
		{ "-1", 0 },           { "ffff::", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned plen = 99;
		int r = val_netmask(t[i].s, &plen);

		assert_int_equal(r, t[i].want ? 0 : -EINVAL);
		assert_int_equal(plen, t[i].want ? t[i].want : 99);
	}
}

static void test_class(void **state)
{
	static const struct {
		const char *s;
		unsigned want;
	} t[] = {
		{ "10.0.0.1", 8 },   { "127.255.255.255", 8 }, { "128.0.0.1", 16 }, { "169.254.2.15", 16 },
		{ "191.1.1.1", 16 }, { "192.168.1.1", 24 },    { "223.1.1.1", 24 }, { "240.0.0.1", 32 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a = A(t[i].s);

		assert_int_equal(val_class_plen(&a), t[i].want);
	}
}

static void test_numbers(void **state)
{
	unsigned mtu = 1;
	size_t size = 1;
	int fd = -2;

	assert_int_equal(val_mtu("0", &mtu), 0);
	assert_int_equal(mtu, 0);
	assert_int_equal(val_mtu("65521", &mtu), 0);
	assert_int_equal(mtu, 65521);
	assert_int_equal(val_mtu("65522", &mtu), -ERANGE);
	assert_int_equal(val_mtu("99999999999999999999999", &mtu), -ERANGE);
	assert_int_equal(val_mtu("1500x", &mtu), -EINVAL);
	assert_int_equal(val_mtu("-1", &mtu), -EINVAL);
	assert_int_equal(val_mtu("", &mtu), -EINVAL);
	assert_int_equal(mtu, 65521);

	assert_int_equal(val_log_size("40960", &size), 0);
	assert_int_equal(size, 40960);
	assert_int_equal(val_log_size("40959", &size), -EINVAL);
	assert_int_equal(val_log_size("1M", &size), -EINVAL);

	assert_int_equal(val_fd("0", &fd), 0);
	assert_int_equal(fd, 0);
	assert_int_equal(val_fd("2147483647", &fd), 0);
	assert_int_equal(val_fd("2147483648", &fd), -EINVAL);
	assert_int_equal(val_fd("-1", &fd), -EINVAL);
	assert_int_equal(val_fd("3 ", &fd), -EINVAL);
}

static void test_texts(void **state)
{
	char text[4] = "old", name[VAL_IFNAME_MAX] = "old";

	assert_int_equal(val_text("abc", sizeof(text), text), 0);
	assert_string_equal(text, "abc");
	assert_int_equal(val_text("abcd", sizeof(text), text), -EINVAL);
	assert_int_equal(val_text("", sizeof(text), text), -EINVAL);
	assert_string_equal(text, "abc");

	assert_int_equal(val_ifname("enp0s3.100", name), 0);
	assert_string_equal(name, "enp0s3.100");
	assert_int_equal(val_ifname("fifteen-letters", name), 0);
	assert_int_equal(val_ifname("sixteen-letters-", name), -EINVAL);
	assert_int_equal(val_ifname("", name), -EINVAL);
	assert_int_equal(val_ifname("a/b", name), -EINVAL);
	assert_int_equal(val_ifname("a b", name), -EINVAL);
	assert_int_equal(val_ifname("a:1", name), -EINVAL);
	assert_int_equal(val_ifname("..", name), -EINVAL);
	assert_string_equal(name, "fifteen-letters");
}

static void test_name(void **state)
{
	static const struct {
		const char *s;
		const char *want; /* NULL: refused */
	} t[] = {
		{ "host", "host" },
		{ "example.org", "example.org" },
		{ "example.org.", "example.org" },
		{ "_tcp.A-1.b", "_tcp.A-1.b" },
		{ "1.2.3.4", "1.2.3.4" },
		{ "", NULL },
		{ ".", NULL },
		{ "..", NULL },
		{ "a..b", NULL },
		{ ".a", NULL },
		{ "a b", NULL },
		{ "a\n", NULL },
		{ "a/b", NULL },
		{ "\xc3\xa4", NULL },
		{ "sixty-three-0123456789012345678901234567890123456789012345678901", NULL },
		{ "label-of-63-012345678901234567890123456789012345678901234567890.x",
		  "label-of-63-012345678901234567890123456789012345678901234567890.x" },
	};
	char big[300], name[VAL_NAME_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(val_name(t[i].s, strlen(t[i].s), name), t[i].want ? 0 : -EINVAL);
		if (t[i].want)
			assert_string_equal(name, t[i].want);
	}
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 2 ? '.' : 'a';
	assert_int_equal(val_name(big, 253, name), 0);
	assert_int_equal(strlen(name), 253);
	assert_int_equal(val_name(big, 255, name), -EINVAL);
}

static void test_runas(void **state)
{
	uid_t uid = 77;
	gid_t gid = 77;

	assert_int_equal(val_runas("no-such-user-here", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas(":0", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("0:", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("0:0:0", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("0:no-such-group-here", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("4294967295", &uid, &gid), -EINVAL);
	assert_int_equal(val_runas("-1", &uid, &gid), -EINVAL);
	assert_int_equal(uid, 77);
	assert_int_equal(gid, 77);

	assert_int_equal(val_runas("0:0", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(gid, 0);
	assert_int_equal(val_runas("root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(val_runas("root:1234", &uid, &gid), 0);
	assert_int_equal(gid, 1234);
	assert_int_equal(val_runas("1234:root", &uid, &gid), 0);
	assert_int_equal(uid, 1234);
	assert_int_equal(gid, 0);
	assert_int_equal(val_runas("3999999999", &uid, &gid), 0);
	assert_int_equal(uid, 3999999999u);
	assert_int_equal(gid, 3999999999u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr),  cmocka_unit_test(test_addr_plen), cmocka_unit_test(test_netmask),
		cmocka_unit_test(test_class), cmocka_unit_test(test_numbers),   cmocka_unit_test(test_texts),
		cmocka_unit_test(test_name),  cmocka_unit_test(test_runas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
