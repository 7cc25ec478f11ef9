/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/resolv.h"

/* Servers and names as one text each, separated by spaces. */
static void expect(const char *text, const char *dns, const char *search)
{
	struct resolv r;
	char got[4096] = "", buf[ADDR_STRLEN];

	resolv_parse(text, strlen(text), &r);
	for (unsigned i = 0; i < r.n_dns; i++) {
		strcat(got, i ? " " : "");
		strcat(got, addr_fmt(&r.dns[i], buf));
	}
	assert_string_equal(got, dns);
	got[0] = '\0';
	for (unsigned i = 0; i < r.n_search; i++) {
		strcat(got, i ? " " : "");
		strcat(got, r.search[i]);
	}
	assert_string_equal(got, search);
}

static void test_servers(void **state)
{
	expect("", "", "");
	expect("nameserver 10.0.0.1\n", "10.0.0.1", "");
	expect("nameserver 10.0.0.1", "10.0.0.1", "");
	expect("nameserver\t10.0.0.1\t# home\n", "10.0.0.1", "");
	expect("nameserver 10.0.0.1\r\nnameserver fd00::53\r\n", "10.0.0.1 fd00::53", "");
	expect("nameserver fe80::1%eth0\n", "fe80::1", "");
	expect("nameserver 127.0.0.53\n", "127.0.0.53", "");
	expect("nameserver 10.0.0.1 10.0.0.2\n", "10.0.0.1", "");
	expect("nameserver 10.0.0.1\nnameserver 10.0.0.1\n", "10.0.0.1", "");
	expect("nameserver 10.0.0.300\nnameserver x\nnameserver\nnameserver 10.0.0.2\n", "10.0.0.2", "");
	expect("nameserver 0.0.0.0\nnameserver ::\nnameserver 224.0.0.1\n", "", "");
	expect("# nameserver 10.0.0.1\n;nameserver 10.0.0.2\n", "", "");
	expect("nameservers 10.0.0.1\nNAMESERVER 10.0.0.2\nname 10.0.0.3\n", "", "");
	expect("options ndots:5\n\n\n  nameserver 10.0.0.1\n", "10.0.0.1", "");
}

static void test_search(void **state)
{
	expect("search a.example b.example\n", "", "a.example b.example");
	expect("search a.example.\tb # c\n", "", "a.example b");
	expect("domain a.example b.example\n", "", "a.example");
	expect("domain a\nsearch b c\n", "", "b c");
	expect("search b c\ndomain a\n", "", "a");
	expect("search b\nsearch\n", "", "");
	expect("search . a..b ok\n", "", "ok");
	expect("search a b c d e f g h i j\n", "", "a b c d e f g h");
}

static void test_bounds(void **state)
{
	static char text[200000];
	struct resolv r;
	size_t len = 0;

	for (int i = 0; i < 200; i++)
		len += (size_t)sprintf(text + len, "nameserver 10.0.0.%d\n", i + 1);
	resolv_parse(text, len, &r);
	assert_int_equal(r.n_dns, RESOLV_DNS_MAX);

	/* One endless line, and a good one behind it. */
	memset(text, 'a', sizeof(text));
	memcpy(text, "search ", 7);
	memcpy(text + 150000, "\nnameserver 10.0.0.1\n", 21);
	resolv_parse(text, sizeof(text), &r);
	assert_int_equal(r.n_search, 0);
	assert_int_equal(r.n_dns, 1);

	/* NUL bytes are bytes like others. */
	resolv_parse("nameserver \0 10.0.0.1\n", 22, &r);
	assert_int_equal(r.n_dns, 0);
}

static void test_file(void **state)
{
	char path[] = "/tmp/test_resolv_XXXXXX";
	int fd = mkstemp(path);
	struct resolv r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "nameserver 10.0.0.1\n", 20), 20);
	close(fd);
	assert_int_equal(resolv_read(path, &r), 0);
	assert_int_equal(r.n_dns, 1);
	unlink(path);
	assert_int_equal(resolv_read(path, &r), -ENOENT);
	assert_int_equal(r.n_dns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
