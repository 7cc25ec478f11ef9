/* SPDX-License-Identifier: MIT */
#include "fwd/rule.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "os/unixpath.h"

/* Bits of a context; the ephemeral ports are 32768-60999 unless NOEPH. */
enum { PASTA = 1, ONLY4 = 2, ONLY6 = 4, OUT = 8, UDP = 16, NOEPH = 32 };

static struct fwd_ctx ctx(int how)
{
	struct fwd_ctx c = {
		.opt = "-t",
		.proto = how & UDP ? IPPROTO_UDP : IPPROTO_TCP,
		.v4 = !(how & ONLY6),
		.v6 = !(how & ONLY4),
		.pasta = how & PASTA,
		.outwards = how & OUT,
		.eph_first = how & NOEPH ? 0 : 32768,
		.eph_last = how & NOEPH ? 0 : 60999,
	};

	if (how & OUT)
		strcpy(c.opt, "-T");
	return c;
}

/* All rules, with their flags where they are not plain, as one text: "*" is FWD_DUAL by itself. */
static const char *table_fmt(const struct fwd_table *t, char *buf, size_t len)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < t->n; i++) {
		char rule[200];

		fwd_rule_fmt(&t->rule[i], rule, sizeof(rule));
		at += (size_t)snprintf(buf + at, len - at, "%s%s", i ? " " : "", rule);
	}
	return buf;
}

static void test_copy(void **state)
{
	static struct fwd_table from, to;
	struct fwd_ctx c = ctx(0);
	char err[FWD_ERR_LEN], buf[256];

	memset(&to, 0xa5, sizeof(to));
	assert_int_equal(fwd_parse(&c, "80,443:444", &from, err), 0);
	from.none[1] = from.freebind = true;
	fwd_table_copy(&from, &to);
	assert_string_equal(table_fmt(&to, buf, sizeof(buf)), "*/80 */443:444");
	assert_true(!to.none[0] && to.none[1] && to.freebind);
	assert_int_equal(to.rule[2].first, 0xa5a5);
}

static void test_accept(void **state)
{
	static const struct {
		int how;
		const char *spec, *want;
	} t[] = {
		/* ports and ranges */
		{ 0, "80", "*/80" },
		{ 0, "1", "*/1" },
		{ 0, "65535", "*/65535" },
		{ 0, "1-65535", "*/1-65535" },
		{ 0, "80-80", "*/80" },
		{ 0, "80,443", "*/80 */443" },
		{ 0, "443,80", "*/80 */443" },
		{ 0, "80,81", "*/80-81" },
		{ 0, "82,80,81", "*/80-82" },
		{ 0, "22-25,26-30", "*/22-30" },
		{ 0, "080", "*/80" },

		/* to other ports */
		{ 0, "80:8080", "*/80:8080" },
		{ 0, "80-80:60-60", "*/80:60" },
		{ 0, "22-80:3322-3380", "*/22-80:3322-3380" },
		{ 0, "80:8080,81:8081", "*/80-81:8080-8081" },
		{ 0, "80:8080,81:8082", "*/80:8080 */81:8082" },
		{ 0, "80:80", "*/80" },
		{ 0, "80,81:8081", "*/80 */81:8081" },
		{ 0, "65534-65535:1-2", "*/65534-65535:1-2" },

		/* listening addresses: bare, in brackets, wildcards, devices */
		{ 0, "/80", "*/80" },
		{ 0, "*/80", "*/80" },
		{ 0, "127.0.0.1/80", "127.0.0.1/80" },
		{ 0, "0.0.0.0/80", "0.0.0.0/80" },
		{ 0, "[127.0.0.1]/80", "127.0.0.1/80" },
		{ 0, "[192.0.2.1]%eth0/80:[10.0.0.5]", "192.0.2.1%eth0/80:10.0.0.5/80" },
		{ 0, "::/80", "[::]/80" },
		{ 0, "[::]/80", "[::]/80" },
		{ 0, "::1/80-80:80-80", "[::1]/80" },
		{ 0, "[::1]/80-80:80-80", "[::1]/80" },
		{ 0, "2001:db8::1/80", "[2001:db8::1]/80" },
		{ 0, "1:2:3:4:5:6:7:8/80", "[1:2:3:4:5:6:7:8]/80" },
		{ 0, "::ffff:192.0.2.1/80", "192.0.2.1/80" },
		{ 0, "%eth0/80", "*%eth0/80" },
		{ 0, "*%eth0/80", "*%eth0/80" },
		{ 0, "192.0.2.1%eth0/80,90", "192.0.2.1%eth0/80 192.0.2.1%eth0/90" },
		{ 0, "fe80::1%eth0/80", "[fe80::1]%eth0/80" },
		{ 0, "[fe80::1]%eth0/80", "[fe80::1]%eth0/80" },
		{ 0, "%abcdefghijklmno/80", "*%abcdefghijklmno/80" },
		{ 0, "%a,b/80", "*%a,b/80" },
		{ 0, "192.0.2.1/80-90:180-190,~85", "192.0.2.1/80-84:180-184 192.0.2.1/86-90:186-190" },

		/* families that are enabled */
		{ ONLY4, "80", "0.0.0.0/80" },
		{ ONLY6, "80", "[::]/80" },
		{ ONLY4, "%eth0/80", "0.0.0.0%eth0/80" },
		{ ONLY4, "127.0.0.1/80", "127.0.0.1/80" },
		{ ONLY6, "[::1]/80", "[::1]/80" },

		/* UNIX sockets; what begins with a slash otherwise has an empty address */
		{ 0, "/run/a.sock:80", "/run/a.sock:80" },
		{ ONLY4, "/run/a:b,c d.sock:65535", "/run/a:b,c d.sock:65535" },
		{ PASTA, "//a.sock:80", "//a.sock:80" },
		{ PASTA | OUT, "80:/run/a.sock", "*/80:/run/a.sock" },
		{ PASTA | OUT | ONLY4, "/80:/run/a:b/c,d", "0.0.0.0/80:/run/a:b/c,d" },
		{ PASTA | OUT, "*/80:/a", "*/80:/a" },
		{ 0, "/\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x90\xa7:80", "/\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x90\xa7:80" },

		/* exclusions, wherever they stand */
		{ 0, "5-25,~10-20", "*/5-9 */21-25" },
		{ 0, "~10-20,5-25", "*/5-9 */21-25" },
		{ 0, "5-15,~10-20,16-25", "*/5-9 */21-25" },
		{ 0, "5-25,~5,~25", "*/6-24" },
		{ 0, "5-25:105-125,~10-20", "*/5-9:105-109 */21-25:121-125" },
		{ 0, "5-25,~10,~12", "*/5-9 */11 */13-25" },
		{ 0, "80,~81", "*/80" },
		{ 0, "40000,~50000", "*/40000" },
		{ 0, "10-12,11:90,~11", "*/10 */12" },
		{ 0, "80,~80", "" },
		{ 0, "~1-65535", "" },

		/* all that is not ephemeral */
		{ 0, "all", "*/all,~32768-65535 */all,~1-60999" },
		{ 0, "*/all", "*/all,~32768-65535 */all,~1-60999" },
		{ 0, "all,all", "*/all,~32768-65535 */all,~1-60999" },
		{ NOEPH, "all", "*/all" },
		{ NOEPH, "%eth0/all", "*%eth0/all" },
		{ NOEPH, "all,~22", "*/all,~22-65535 */all,~1-22" },
		{ 0, "~1-1023", "*/all,~1-1023,~32768-65535 */all,~1-60999" },
		{ 0, "~22,~61000-65535", "*/all,~22-65535 */all,~1-22,~32768-65535" },
		{ 0, "192.0.2.1%eth0/~22",
		  "192.0.2.1%eth0/all,~22-65535 192.0.2.1%eth0/all,~1-22,~32768-65535 "
		  "192.0.2.1%eth0/all,~1-60999" },
		{ 0, "80,all", "*/80" },
		{ 0, "all,80", "*/80" },
		{ 0, "40000,all", "*/40000" },
		{ 0, "0.0.0.0/all:10.0.0.5,~1-60999", "0.0.0.0/all:10.0.0.5,~1-60999" },
		{ NOEPH, "[::]/all:[fd00::5]", "[::]/all:[fd00::5]" },
		{ NOEPH, "[::]/all:fd00::5", "[::]/all:[fd00::5]" },

		/* automatic */
		{ PASTA, "auto", "*/auto,~32768-65535 */auto,~1-60999" },
		{ PASTA, "auto,all", "*/auto,~32768-65535 */auto,~1-60999" },
		{ PASTA, "127.0.0.1/auto", "127.0.0.1/auto,~32768-65535 127.0.0.1/auto,~1-60999" },
		{ PASTA, "8000-8010,auto", "*/8000-8010,auto" },
		{ PASTA, "auto,8000-8010:9000-9010", "*/8000-8010:9000-9010,auto" },
		{ PASTA, "auto,~1-1023", "*/auto,~1-1023,~32768-65535 */auto,~1-60999" },
		{ PASTA | NOEPH, "0.0.0.0/auto,all:10.0.0.5", "0.0.0.0/all:10.0.0.5,auto" },
		{ PASTA | OUT, "auto,~1-60999", "*/auto,~1-60999" },
		{ PASTA | OUT, "5000:6000", "*/5000:6000" },
		{ PASTA | OUT, "/5000", "*/5000" },
		{ PASTA | OUT | ONLY4, "5000", "0.0.0.0/5000" },
		{ PASTA | OUT | ONLY6, "[::]/5000", "[::]/5000" },

		/* targets */
		{ 0, "0.0.0.0/80:10.0.0.5", "0.0.0.0/80:10.0.0.5/80" },
		{ 0, "0.0.0.0/80:10.0.0.5/8080", "0.0.0.0/80:10.0.0.5/8080" },
		{ 0, "192.0.2.1/80-81:10.0.0.5/8080-8081", "192.0.2.1/80-81:10.0.0.5/8080-8081" },
		{ 0, "192.0.2.1/80-81:10.0.0.5", "192.0.2.1/80-81:10.0.0.5/80-81" },
		{ 0, "0.0.0.0/80:10.0.0.5,81:10.0.0.5", "0.0.0.0/80-81:10.0.0.5/80-81" },
		{ 0, "0.0.0.0/80:10.0.0.5,81:10.0.0.6", "0.0.0.0/80:10.0.0.5/80 0.0.0.0/81:10.0.0.6/81" },
		{ 0, "0.0.0.0/80:10.0.0.5,81", "0.0.0.0/80:10.0.0.5/80 0.0.0.0/81" },
		{ ONLY4, "6443:192.168.124.20/6443", "0.0.0.0/6443:192.168.124.20/6443" },
		{ ONLY4, "6443-6444:192.168.124.20/6443-6444", "0.0.0.0/6443-6444:192.168.124.20/6443-6444" },
		{ 0, "[::]/8080:fd00::5/80", "[::]/8080:[fd00::5]/80" },
		{ 0, "[::]/8080:[fd00::5]/80", "[::]/8080:[fd00::5]/80" },
		{ 0, "::/8080-8081:fd00::5/80-81", "[::]/8080-8081:[fd00::5]/80-81" },
		{ 0, "[::]/8080:fd00::5", "[::]/8080:[fd00::5]/8080" },
		{ 0, "*/80:[fd00::5]/80", "[::]/80:[fd00::5]/80" },
		{ ONLY6, "80:fd00::5", "[::]/80:[fd00::5]/80" },
		{ ONLY6, "80:[fd00::5]/81", "[::]/80:[fd00::5]/81" },

		/* a port with a target, or an address with a port */
		{ 0, "80:fd00::5/80", "[::]/80:[fd00::5]/80" },
		{ 0, "80:[fd00::5]/80", "[::]/80:[fd00::5]/80" },
		{ 0, "8080:2001:db8::5/80", "[::]/8080:[2001:db8::5]/80" },
		{ 0, "80-80:fd00::5/80-80", "[::]/80:[fd00::5]/80" },
		{ 0, "90,91:fd00::5/80", "*/90 [::]/91:[fd00::5]/80" },
		{ 0, "2001:fd00::5/80", "[2001:fd00::5]/80" },
		{ 0, "100::1/80", "[100::1]/80" },
		{ 0, "64:ff9b::1/80", "[64:ff9b::1]/80" },
		{ 0, "[80:fd00::5]/80", "[80:fd00::5]/80" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct fwd_ctx c = ctx(t[i].how);
		struct fwd_table tab = { .n = 0 };
		char err[FWD_ERR_LEN] = "", got[1024];
		int rc = fwd_parse(&c, t[i].spec, &tab, err);

		if (rc)
			fail_msg("%s: refused (%d): %s", t[i].spec, rc, err);
		table_fmt(&tab, got, sizeof(got));
		if (strcmp(got, t[i].want))
			fail_msg("%s: got %s, want %s", t[i].spec, got, t[i].want);
		assert_int_equal(tab.none[0], !tab.n);

		/* What is printed means the same again. */
		for (unsigned j = 0; j < tab.n; j++) {
			struct fwd_table again = { .n = 0 };
			char one[200];

			fwd_rule_fmt(&tab.rule[j], one, sizeof(one));
			if (fwd_parse(&c, one, &again, err))
				fail_msg("%s: not accepted again: %s", one, err);
			assert_int_equal(again.n, 1);
			assert_memory_equal(&again.rule[0], &tab.rule[j], sizeof(tab.rule[j]));
		}
	}
}

#define INVALID "Invalid port specifier '"

static void test_reject(void **state)
{
	static const struct {
		int how;
		const char *spec, *want; /* how the message begins */
	} t[] = {
		{ 0, "", INVALID "'" },
		{ 0, "/80:10/90:80", INVALID "/80:10/90:80'" },
		{ 0, "./a.sock:80", INVALID "./a.sock:80': the path of a UNIX socket has to begin at the root" },
		{ 0, "../a.sock", INVALID "../a.sock': the path of a UNIX socket has to begin at the root" },
		{ PASTA | OUT, "80:./a", INVALID "80:./a': the path of a UNIX socket has to begin at the root" },
		{ 0, "/run/a", INVALID "/run/a': a UNIX socket goes with one port" },
		{ 0, "/run/a:", INVALID "/run/a:': a UNIX socket goes with one port" },
		{ 0, "/run/a:0", INVALID "/run/a:0': a UNIX socket goes with one port" },
		{ 0, "/run/a:80-81", INVALID "/run/a:80-81': a UNIX socket goes with one port" },
		{ 0, "/run/a:80,81", INVALID "/run/a:80,81': a UNIX socket goes with one port" },
		{ PASTA | OUT, "80-81:/run/a", INVALID "80-81:/run/a'" },
		{ PASTA | OUT, "80,81:/run/a", INVALID "80,81:/run/a'" },
		{ 0, "/run/a/:80", INVALID "/run/a/:80': the path of a UNIX socket can't be that of a folder" },
		{ 0, "/run/\001b:80", INVALID "/run/\001b:80': the path of a UNIX socket has to be text" },
		{ 0, "/run/\xc3:80", INVALID "/run/\xc3:80': the path of a UNIX socket has to be text" },
		{ 0, "/run/\xc0\x80:80", INVALID "/run/\xc0\x80:80': the path of a UNIX socket has to be text" },
		{ 0, "/run/\xed\xa0\x80:80", INVALID "/run/\xed\xa0\x80:80': the path of a UNIX socket has to be text" },
		{ UDP, "/run/a:80", INVALID "/run/a:80': a UNIX socket can be forwarded with TCP only" },
		{ PASTA | OUT | UDP, "80:/run/a", INVALID "80:/run/a': a UNIX socket can be forwarded with TCP only" },
		{ PASTA, "80:/run/a", INVALID "80:/run/a': only ports of a namespace can lead to a UNIX socket" },
		{ PASTA | OUT, "/run/a:80", "Listening address not allowed for -T /run/a:80" },
		{ PASTA | OUT, "::1/80:/run/a", "Listening address not allowed for -T ::1/80:/run/a" },
		{ 0, "/", INVALID "/'" },
		{ 0, "*/", INVALID "*/'" },
		{ 0, "*", INVALID "*'" },
		{ 0, ",", INVALID ",'" },
		{ 0, "80,", INVALID "80,'" },
		{ 0, ",80", INVALID ",80'" },
		{ 0, "80,,81", INVALID "80,,81'" },
		{ 0, "0", INVALID "0'" },
		{ 0, "0-10", INVALID "0-10'" },
		{ 0, "65536", INVALID "65536'" },
		{ 0, "4294967376", INVALID "4294967376'" },
		{ 0, "99999999999999999999999", INVALID "99999999999999999999999'" },
		{ 0, "-80", INVALID "-80'" },
		{ 0, "80-", INVALID "80-'" },
		{ 0, "80-70", INVALID "80-70'" },
		{ 0, "80-90-100", INVALID "80-90-100'" },
		{ 0, "+80", INVALID "+80'" },
		{ 0, " 80", INVALID " 80'" },
		{ 0, "80 ", INVALID "80 '" },
		{ 0, "80x", INVALID "80x'" },
		{ 0, "0x50", INVALID "0x50'" },
		{ 0, "80:", INVALID "80:'" },
		{ 0, "80:0", INVALID "80:0'" },
		{ 0, "80:81x", INVALID "80:81x'" },
		{ 0, "80:81:82", INVALID "80:81:82'" },
		{ 0, "80-90:8080", INVALID "80-90:8080'" },
		{ 0, "80:8080-8081", INVALID "80:8080-8081'" },
		{ 0, "80-90:8080-8091", INVALID "80-90:8080-8091'" },
		{ 0, "80:65536", INVALID "80:65536'" },
		{ 0, "~", INVALID "~'" },
		{ 0, "~80:81", INVALID "~80:81'" },
		{ 0, "~0", INVALID "~0'" },
		{ 0, "~~80", INVALID "~~80'" },
		{ 0, "80~81", INVALID "80~81'" },
		{ 0, "ALL", INVALID "ALL'" },
		{ 0, "allx", INVALID "allx'" },
		{ 0, "all:", INVALID "all:'" },
		{ 0, "all:80", INVALID "all:80'" },
		{ 0, "0.0.0.0/all:10.0.0.5/80", INVALID "0.0.0.0/all:10.0.0.5/80'" },
		{ 0, "0.0.0.0/all:10.0.0.5,all:10.0.0.6", INVALID "0.0.0.0/all:" },
		{ 0, "0.0.0.0/all:10.0.0.5,all", INVALID "0.0.0.0/all:" },
		{ 0, "80,none", INVALID "80,none'" },
		{ 0, "none,80", INVALID "none,80'" },
		{ 0, "*/none", INVALID "*/none'" },
		{ PASTA, "autox", INVALID "autox'" },
		{ PASTA, "auto:80", INVALID "auto:80'" },
		{ 0, "http", INVALID "http'" },

		/* addresses and devices */
		{ 0, "foo/80", INVALID "foo/80'" },
		{ 0, "1.2.3/80", INVALID "1.2.3/80'" },
		{ 0, "1.2.3.256/80", INVALID "1.2.3.256/80'" },
		{ 0, "[1.2.3.4.5]/80", INVALID "[1.2.3.4.5]/80': bad listening address" },
		{ 0, "[::1/80", INVALID "[::1/80': misplaced bracket" },
		{ 0, "::1]/80", INVALID "::1]/80': misplaced bracket" },
		{ 0, "[127.0.0.1/80", INVALID "[127.0.0.1/80': misplaced bracket" },
		{ 0, "[fe80::1%eth0]/80", INVALID "[fe80::1%eth0]/80': misplaced bracket" },
		{ 0, "[*]/80", INVALID "[*]/80': bad listening address" },
		{ 0, "224.0.0.1/80", INVALID "224.0.0.1/80': can't listen on a multicast address" },
		{ 0, "ff02::1%eth0/80", INVALID "ff02::1%eth0/80': can't listen on a multicast address" },
		{ 0, "::1//80", INVALID "::1//80'" },
		{ 0, "127.0.0.1/80/81", INVALID "127.0.0.1/80/81'" },
		{ 0, "127.0.0.1", INVALID "127.0.0.1'" },
		{ 0, "%/80", INVALID "%/80'" },
		{ 0, "%abcdefghijklmnop/80", INVALID "%abcdefghijklmnop/80'" },
		{ 0, "%a b/80", INVALID "%a b/80'" },
		{ 0, "%eth0:1/80", INVALID "%eth0:1/80'" },
		{ 0, "%eth0", INVALID "%eth0'" },
		{ 0, "foo%eth0/80", INVALID "foo%eth0/80'" },
		{ 0, "80,81%eth0/90", INVALID "80,81%eth0/90'" },

		/* targets */
		{ 0, "0.0.0.0/80:10.0.0.5/", INVALID "0.0.0.0/80:10.0.0.5/'" },
		{ 0, "0.0.0.0/80:/90", INVALID "0.0.0.0/80:/90'" },
		{ 0, "0.0.0.0/80:10.0.0.5/0", INVALID "0.0.0.0/80:10.0.0.5/0'" },
		{ 0, "0.0.0.0/80:10.0.0.5/80-81", INVALID "0.0.0.0/80:10.0.0.5/80-81'" },
		{ 0, "0.0.0.0/80:10.0.0.5:90", INVALID "0.0.0.0/80:10.0.0.5:90'" },
		{ 0, "0.0.0.0/80:foo/90", INVALID "0.0.0.0/80:foo/90'" },
		{ 0, "0.0.0.0/80:fd00::5/80", INVALID "0.0.0.0/80:fd00::5/80'" },
		{ 0, "[::]/80:10.0.0.5/80", INVALID "[::]/80:10.0.0.5/80'" },
		{ 0, "0.0.0.0/80:224.0.0.1", INVALID "0.0.0.0/80:224.0.0.1'" },
		{ 0, "[::]/80:ff02::1", INVALID "[::]/80:ff02::1'" },
		{ 0, "0.0.0.0/80:0.0.0.0", INVALID "0.0.0.0/80:0.0.0.0'" },
		{ 0, "0.0.0.0/80:255.255.255.255", INVALID "0.0.0.0/80:255.255.255.255'" },
		{ 0, "[::]/80:::", INVALID "[::]/80:::'" },
		{ 0, "6443:192.168.124.20/6443",
		  "Dual stack forward to IPv4 address 192.168.124.20 unsupported. Did you mean 0.0.0.0/6443:192.168.124.20/6443 "
		  "instead?" },
		{ 0, "*%eth0/80:10.0.0.5",
		  "Dual stack forward to IPv4 address 10.0.0.5 unsupported. Did you mean 0.0.0.0%eth0/80:10.0.0.5 instead?" },
		{ 0, "all:10.0.0.5", "Dual stack forward to IPv4 address 10.0.0.5 unsupported. Did you mean 0.0.0.0/all:10.0.0.5" },

		/* what is not possible here */
		{ 0, "auto", "'auto' port forwarding is only allowed for pasta" },
		{ 0, "80,auto", "'auto' port forwarding is only allowed for pasta" },
		{ ONLY4, "[::1]/80", "IPv6 forward, but IPv6 not enabled" },
		{ ONLY4, "::/80", "IPv6 forward, but IPv6 not enabled" },
		{ ONLY6, "127.0.0.1/80", "IPv4 forward, but IPv4 not enabled" },
		{ ONLY4 | ONLY6, "80", "Port forward, but neither IPv4 nor IPv6 enabled" },
		{ ONLY4, "80:[fd00::5]/80", INVALID "80:[fd00::5]/80'" },
		{ PASTA | OUT, "127.0.0.1/80", "Listening address not allowed for -T 127.0.0.1/80" },
		{ PASTA | OUT, "[::1]/80", "Listening address not allowed for -T [::1]/80" },
		{ PASTA | OUT, "0.0.0.0/80", "Listening address not allowed for -T 0.0.0.0/80" },
		{ PASTA | OUT | ONLY6, "0.0.0.0/80", "Listening address not allowed for -T 0.0.0.0/80" },
		{ PASTA | OUT, "%lo/80", "Listening address not allowed for -T %lo/80" },
		{ PASTA | OUT, "80:10.0.0.1", "Target address not allowed for -T 80:10.0.0.1" },

		/* with itself */
		{ 0, "80,80", "Forwarding configuration conflict: */80 versus */80" },
		{ 0, "80-90,85", "Forwarding configuration conflict: */85 versus */80-90" },
		{ 0, "85,80-90", "Forwarding configuration conflict: */80-90 versus */85" },
		{ 0, "80:8080,80:8081", "Forwarding configuration conflict: */80:8081 versus */80:8080" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct fwd_table tab = { .n = 0 }, before = tab;
		struct fwd_ctx c = ctx(t[i].how);
		char err[FWD_ERR_LEN] = "", got[1024];
		int rc = fwd_parse(&c, t[i].spec, &tab, err);

		if (!rc)
			fail_msg("%s: accepted as %s", t[i].spec, table_fmt(&tab, got, sizeof(got)));
		if (strncmp(err, t[i].want, strlen(t[i].want)))
			fail_msg("%s: says \"%s\", want \"%s\"", t[i].spec, err, t[i].want);
		assert_int_equal(rc, strstr(err, "conflict:") ? -EEXIST : -EINVAL);
		assert_null(strchr(err, '\n'));
		assert_memory_equal(&tab, &before, sizeof(tab));
	}
}

/* Several options after each other, separated by spaces: the last one is as the table says. */
static void test_sequence(void **state)
{
	static const struct {
		const char *specs;
		int rc;
		const char *want; /* the table, or the message */
	} t[] = {
		{ "80 81", 0, "*/80 */81" },
		{ "5-25,~10-20 10", 0, "*/5-9 */21-25 */10" },
		{ "none", 0, "" },
		{ "none none", 0, "" },
		{ "none 80", 0, "*/80" },
		{ "80 none", -EINVAL, "-t none conflicts with previous options" },
		{ "80 80", -EEXIST, "Forwarding configuration conflict: */80 versus */80" },
		{ "all 80", -EEXIST, "Forwarding configuration conflict: */80 versus */all,~32768-65535" },
		{ "80 all", -EEXIST, "Forwarding configuration conflict: */all,~32768-65535 versus */80" },
		{ "0.0.0.0/80 127.0.0.1/80", -EEXIST, "Forwarding configuration conflict: 127.0.0.1/80 versus 0.0.0.0/80" },
		{ "80 [::1]/80", -EEXIST, "Forwarding configuration conflict: [::1]/80 versus */80" },
		{ "0.0.0.0/80 [::]/80", 0, "0.0.0.0/80 [::]/80" },
		{ "127.0.0.1/80 127.0.0.2/80", 0, "127.0.0.1/80 127.0.0.2/80" },
		{ "%eth0/80 %eth1/80", -EEXIST, "Forwarding configuration conflict: *%eth1/80 versus *%eth0/80" },
		{ "40000 all", 0, "*/40000 */all,~32768-65535 */all,~1-60999" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		char specs[128], err[FWD_ERR_LEN] = "", got[1024], *save = NULL;
		struct fwd_table tab = { .n = 0 };
		struct fwd_ctx c = ctx(0);
		int rc = 0;

		strcpy(specs, t[i].specs);
		for (char *s = strtok_r(specs, " ", &save); s; s = strtok_r(NULL, " ", &save)) {
			assert_int_equal(rc, 0);
			rc = fwd_parse(&c, s, &tab, err);
		}
		assert_int_equal(rc, t[i].rc);
		assert_string_equal(rc ? err : table_fmt(&tab, got, sizeof(got)), t[i].want);
		if (strstr(t[i].specs, "none") && !rc)
			assert_true(tab.none[0]);
		assert_false(tab.none[1]);
	}
}

static void test_protocols_apart(void **state)
{
	struct fwd_ctx tcp = ctx(0), udp = ctx(UDP);
	struct fwd_table t = { .n = 0 };
	char err[FWD_ERR_LEN];

	strcpy(udp.opt, "-u");
	assert_int_equal(fwd_parse(&tcp, "80", &t, err), 0);
	assert_int_equal(fwd_parse(&udp, "none", &t, err), 0);
	assert_false(t.none[0]);
	assert_true(t.none[1]);
	assert_int_equal(fwd_parse(&udp, "80", &t, err), 0);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.rule[0].proto, IPPROTO_TCP);
	assert_int_equal(t.rule[1].proto, IPPROTO_UDP);
	assert_int_equal(fwd_parse(&udp, "none", &t, err), -EINVAL);
	assert_string_equal(err, "-u none conflicts with previous options");
}

static void test_too_many(void **state)
{
	struct fwd_table t = { .n = 0 };
	struct fwd_ctx c = ctx(0);
	char spec[4096], err[FWD_ERR_LEN];
	size_t at = 0;

	/* 255 rules with gaps between them; then one more, alone or in the same specifier. */
	for (unsigned i = 0; i < FWD_RULES_MAX; i++)
		at += (size_t)snprintf(spec + at, sizeof(spec) - at, "%s%u", i ? "," : "", 1000 + 2 * i);
	assert_int_equal(fwd_parse(&c, spec, &t, err), 0);
	assert_int_equal(t.n, FWD_RULES_MAX);
	assert_int_equal(fwd_parse(&c, "9", &t, err), -ENOSPC);
	assert_int_equal(t.n, FWD_RULES_MAX);

	t.n = 0;
	snprintf(spec + at, sizeof(spec) - at, ",9");
	assert_int_equal(fwd_parse(&c, spec, &t, err), -ENOSPC);
	assert_int_equal(t.n, 0);

	/* Contiguous ports are one rule, however many words they take. */
	at = 0;
	for (unsigned i = 0; i < 900; i++)
		at += (size_t)snprintf(spec + at, sizeof(spec) - at, "%s%u", i ? "," : "", 999 - i);
	assert_int_equal(fwd_parse(&c, spec, &t, err), 0);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.rule[0].first, 100);
	assert_int_equal(t.rule[0].last, 999);
}

static void test_long_text(void **state)
{
	struct fwd_table t = { .n = 0 };
	struct fwd_ctx c = ctx(0);
	char spec[4096], err[FWD_ERR_LEN];

	memset(spec, 'x', sizeof(spec) - 1);
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(fwd_parse(&c, spec, &t, err), -EINVAL);
	assert_true(strlen(err) < FWD_ERR_LEN - 1);
	assert_non_null(strstr(err, "bad port or range"));
	/* Of characters with more than one byte none is cut. */
	for (size_t at = 100; at < 104; at++) {
		memset(spec, 'x', at);
		for (char *p = spec + at; p < spec + sizeof(spec) - 4; p += 3)
			memcpy(p, "\xe2\x82\xac", 4);
		assert_int_equal(fwd_parse(&c, spec, &t, err), -EINVAL);
		assert_non_null(strstr(err, "\xe2\x82\xac': "));
	}
}

static void test_fmt_short_buffer(void **state)
{
	struct fwd_rule r = { .addr = addr_any6, .flags = FWD_DUAL, .first = 80, .last = 90, .to = 8080 };
	char full[64], cut[64];

	fwd_rule_fmt(&r, full, sizeof(full));
	assert_string_equal(full, "*/80-90:8080-8090");
	for (size_t len = 1; len < sizeof(cut); len++) {
		memset(cut, 'x', sizeof(cut));
		assert_ptr_equal(fwd_rule_fmt(&r, cut, len), cut);
		assert_int_equal(strlen(cut), MIN(len - 1, strlen(full)));
		assert_memory_equal(cut, full, strlen(cut));
		assert_int_equal(cut[len], 'x');
	}
}

/* Rules from elsewhere (control socket) may be anything. */
/* A path that has no room is left out by whole characters. */
static void test_fmt_short_text(void **state)
{
	struct fwd_rule r = { .flags = FWD_AT_PATH, .to = 80, .path = "/\xc3\xa4\xc3\xa4" };
	static const char *const want[] = { "", "/", "/", "/\xc3\xa4" };

	for (size_t len = 1; len <= ARRAY_SIZE(want); len++) {
		char cut[8];

		assert_string_equal(fwd_rule_fmt(&r, cut, len), want[len - 1]);
	}
}

static void test_fmt_odd(void **state)
{
	struct fwd_rule r = { .addr = addr_any4, .flags = FWD_WEAK, .first = 1, .last = 65535, .to = 65535 };
	char buf[200];

	assert_string_equal(fwd_rule_fmt(&r, buf, sizeof(buf)), "0.0.0.0/1-65535:65535-131069");
	memset(r.ifname, 'i', sizeof(r.ifname));
	assert_string_equal(fwd_rule_fmt(&r, buf, sizeof(buf)), "0.0.0.0%iiiiiiiiiiiiiiii/1-65535:65535-131069");
}

static void test_conflict(void **state)
{
	/* Addresses against addresses; rows and columns alike. */
	static const struct {
		const char *addr;
		uint8_t flags;
	} a[] = {
		{ "::", FWD_DUAL }, { "0.0.0.0", 0 }, { "::", 0 },      { "127.0.0.1", 0 },
		{ "192.0.2.1", 0 }, { "::1", 0 },     { "fd00::1", 0 },
	};
	static const char *const overlap[] = {
		"1111111", "1101100", "1010011", "1101000", "1100100", "1010010", "1010001",
	};
	static const struct {
		uint16_t first, last;
		bool overlap; /* with 80-90 */
	} p[] = {
		{ 80, 90, true }, { 85, 85, true },  { 1, 65535, true }, { 70, 80, true },
		{ 90, 99, true }, { 70, 79, false }, { 91, 99, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(a); j++) {
			for (size_t k = 0; k < ARRAY_SIZE(p); k++) {
				struct fwd_rule x = { .flags = a[i].flags, .first = 80, .last = 90, .proto = IPPROTO_TCP };
				struct fwd_rule y = {
					.flags = a[j].flags, .first = p[k].first, .last = p[k].last, .proto = IPPROTO_TCP
				};

				assert_int_equal(addr_parse(a[i].addr, &x.addr), 0);
				assert_int_equal(addr_parse(a[j].addr, &y.addr), 0);
				strcpy(y.ifname, "eth0"); /* does not keep rules apart */
				assert_int_equal(fwd_rule_conflict(&x, &y), p[k].overlap && overlap[i][j] == '1');
				assert_int_equal(fwd_rule_conflict(&y, &x), p[k].overlap && overlap[i][j] == '1');
				y.proto = IPPROTO_UDP;
				assert_false(fwd_rule_conflict(&x, &y));
			}
		}
	}
}

/* One place for a socket, whatever its port; and the ports that lead to sockets are ports like others. */
static void test_path_conflict(void **state)
{
	static const struct {
		int how;
		const char *first, *second;
		int want;
	} t[] = {
		{ 0, "/run/a:80", "/run/b:80", 0 },
		{ 0, "/run/a:80", "/run/a:81", -EEXIST },
		{ 0, "/run/a:80", "80", 0 },
		{ PASTA | OUT, "80:/run/a", "81:/run/a", 0 },
		{ PASTA | OUT, "80:/run/a", "80", -EEXIST },
		{ PASTA | OUT, "80:/run/a", "80:/run/b", -EEXIST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct fwd_ctx c = ctx(t[i].how);
		struct fwd_table tab = { .n = 0 };
		char err[FWD_ERR_LEN];

		assert_int_equal(fwd_parse(&c, t[i].first, &tab, err), 0);
		assert_int_equal(fwd_parse(&c, t[i].second, &tab, err), t[i].want);
	}
}

/* The longest path of a socket address, and one more. */
static void test_path_length(void **state)
{
	struct fwd_ctx c = ctx(0);
	struct fwd_table tab = { .n = 0 };
	char err[FWD_ERR_LEN], spec[UNIXPATH_MAX + 8], shown[160];

	memset(spec, 'a', sizeof(spec));
	spec[0] = spec[2] = '/';
	strcpy(spec + UNIXPATH_MAX - 1, ":80");
	assert_int_equal(fwd_parse(&c, spec, &tab, err), 0);
	assert_int_equal(strlen(tab.rule[0].path), UNIXPATH_MAX - 1);
	assert_string_equal(fwd_rule_fmt(&tab.rule[0], shown, sizeof(shown)), spec);
	spec[UNIXPATH_MAX - 1] = 'a';
	strcpy(spec + UNIXPATH_MAX, ":80");
	assert_int_equal(fwd_parse(&c, spec, &tab, err), -EINVAL);
	assert_non_null(strstr(err, "has to be shorter than 108 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_conflict),  cmocka_unit_test(test_path_length), cmocka_unit_test(test_accept),
		cmocka_unit_test(test_reject),         cmocka_unit_test(test_sequence),    cmocka_unit_test(test_protocols_apart),
		cmocka_unit_test(test_too_many),       cmocka_unit_test(test_long_text),   cmocka_unit_test(test_fmt_short_buffer),
		cmocka_unit_test(test_fmt_odd),        cmocka_unit_test(test_conflict),    cmocka_unit_test(test_copy),
		cmocka_unit_test(test_fmt_short_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
