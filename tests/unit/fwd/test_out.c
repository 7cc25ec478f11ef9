/* SPDX-License-Identifier: MIT */
#include "fwd/out.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "fake_host.h"

static struct addr ip(const char *text)
{
	struct addr a = addr_any6;

	if (text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void test_bind(void **state)
{
	static const struct {
		bool configured;
		int type;
		const char *dst;
		uint16_t port;
		const char *local; /* NULL: no bind() at all */
		const char *ifname;
	} t[] = {
		/* nothing configured */
		{ false, SOCK_STREAM, "198.51.100.1", 0, NULL, "" },
		{ false, SOCK_STREAM, "2001:db8::1", 0, NULL, "" },
		{ false, SOCK_DGRAM, "198.51.100.1", 5000, "0.0.0.0", "" },
		{ false, SOCK_DGRAM, "2001:db8::1", 5000, "::", "" },
		{ false, SOCK_DGRAM, "127.0.0.1", 5000, "0.0.0.0", "" },
		{ false, SOCK_STREAM, "::1", 0, NULL, "" },

		/* --outbound and --outbound-if */
		{ true, SOCK_STREAM, "198.51.100.1", 0, "192.0.2.10", "eth4" },
		{ true, SOCK_DGRAM, "198.51.100.1", 5000, "192.0.2.10", "eth4" },
		{ true, SOCK_STREAM, "2001:db8::1", 0, "fd00::10", "eth6" },
		{ true, SOCK_DGRAM, "fe80::1", 5000, "fd00::10", "eth6" },
		{ true, SOCK_DGRAM, "224.0.0.251", 5353, "192.0.2.10", "eth4" },

		/* loopback is bound to neither */
		{ true, SOCK_STREAM, "127.0.0.1", 0, NULL, "" },
		{ true, SOCK_STREAM, "127.3.3.3", 0, NULL, "" },
		{ true, SOCK_STREAM, "::1", 0, NULL, "" },
		{ true, SOCK_DGRAM, "127.0.0.1", 5000, "0.0.0.0", "" },
		{ true, SOCK_DGRAM, "::1", 5000, "::", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct outbound o = { .scope6 = 7 };
		struct addr dst = ip(t[i].dst), local;
		int proto = t[i].type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, fd = -1;
		struct fake_sock *s;

		if (t[i].configured)
			o = (struct outbound){ ip("192.0.2.10"), ip("fd00::10"), "eth4", "eth6", 7 };
		fake_reset();
		assert_int_equal(out_socket(&o, t[i].type, proto, &dst, t[i].port, &fd), 0);
		s = fake_get(fd);
		assert_int_equal(s->family, addr_is4(&dst) ? AF_INET : AF_INET6);
		assert_int_equal(s->type, t[i].type);
		assert_int_equal(s->proto, proto);
		assert_string_equal(s->ifname, t[i].ifname);
		assert_int_equal(s->bound, t[i].local != NULL);
		if (!t[i].local)
			continue;
		local = ip(t[i].local);
		assert_true(addr_eq(&s->ep.addr, &local));
		assert_int_equal(s->ep.port, t[i].port);
		assert_int_equal(s->scope, 7);
		assert_int_equal(s->no_port, !t[i].port && t[i].type == SOCK_STREAM);
	}
}

static int refuse_open(int family)
{
	return -EMFILE;
}

static int refuse_bind(const struct fake_sock *s)
{
	return -EADDRNOTAVAIL;
}

/* No descriptor is left behind, and none is handed out. */
static void test_failures(void **state)
{
	struct outbound o = { .addr4 = ip("192.0.2.10"), .if4 = "eth4" };
	struct addr dst = ip("198.51.100.1");
	int fd = -2;

	fake_reset();
	fake->open_result = refuse_open;
	assert_int_equal(out_socket(&o, SOCK_STREAM, 0, &dst, 0, &fd), -EMFILE);

	fake_reset();
	fake->dev_result = -EPERM;
	assert_int_equal(out_socket(&o, SOCK_STREAM, 0, &dst, 0, &fd), -EPERM);
	assert_int_equal(fake->open, 0);

	fake_reset();
	fake->bind_result = refuse_bind;
	assert_int_equal(out_socket(&o, SOCK_STREAM, 0, &dst, 0, &fd), -EADDRNOTAVAIL);
	assert_int_equal(fake->open, 0);
	assert_int_equal(fd, -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
