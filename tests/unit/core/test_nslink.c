/* SPDX-License-Identifier: MIT */
/* What the annex is told of the namespace's interface, by frames and by the kernel. The agent is a fake that writes down what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/nslink.h"

static const uint8_t mac_own[MAC_LEN] = { 2, 0, 0, 0, 0, 1 }, mac_new[MAC_LEN] = { 2, 0, 0, 0, 0, 2 },
		     mac_behind[MAC_LEN] = { 2, 0, 0, 0, 0, 3 }, mac_group[MAC_LEN] = { 3, 0, 0, 0, 0, 3 };

static struct fix {
	struct loop loop;
	struct agent annex;
	struct nslink f;
	struct annex_conf told; /* the last one */
	unsigned n;
	int err;
	unsigned gone;

	/* What the kernel says next. */
	struct nl_entry news[4];
	unsigned n_news;
	int news_err;
	unsigned asked; /* the kernel */
	loop_event_fn *event;
} x;

/* --- fakes --- */

int agent_send(struct agent *a, struct agent_req *req, uint32_t *ret_cookie)
{
	assert_ptr_equal(a, &x.annex);
	assert_int_equal(req->head.type, AGENT_FOLLOW);
	if (x.err)
		return x.err;
	x.told = req->annex;
	*ret_cookie = ++x.n;
	return 0;
}

int nl_links_read(int fd, nl_entry_fn *fn, void *ctx)
{
	for (unsigned i = 0; i < x.n_news; i++)
		fn(ctx, &x.news[i]);
	x.n_news = 0;
	return x.news_err;
}

int nl_links_ask(int fd, unsigned index, const char *name)
{
	assert_string_equal(name, "eth0");
	x.asked++;
	return 0;
}

unsigned loop_owner(struct loop *l, loop_event_fn *fn, void *ctx)
{
	x.event = fn;
	assert_ptr_equal(ctx, &x.f);
	return 1;
}

int loop_add(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	return 0;
}

void loop_del(struct loop *l, int fd)
{
}

/* --- the world --- */

static void gone(void *ctx)
{
	x.gone++;
}

static int setup(void **state)
{
	memset(&x, 0, sizeof(x));
	x.loop.now_ns = NSEC_PER_SEC;
	x.f = (struct nslink){ .fd = 99, .annex = &x.annex, .is = { .name = "eth0", .mtu = 65520 }, .gone = gone };
	memcpy(x.f.is.mac, mac_own, MAC_LEN);
	assert_int_equal(nslink_start(&x.f, &x.loop), 0);
	assert_int_equal(x.asked, 1);
	return 0;
}

static void news(enum nl_kind kind, const char *name, unsigned index, const uint8_t *mac, uint32_t mtu)
{
	struct nl_entry *e = &x.news[x.n_news++];

	*e = (struct nl_entry){ .kind = kind, .link = { .index = index, .mtu = mtu, .has_mac = mac != NULL } };
	strcpy(e->link.name, name);
	if (mac)
		memcpy(e->link.mac, mac, MAC_LEN);
}

static void event(void)
{
	x.event(&x.f, (struct ref){ 0 }, EPOLLIN);
}

static void is_told(unsigned n, const uint8_t *mac, uint32_t mtu)
{
	assert_int_equal(x.n, n);
	assert_memory_equal(x.told.mac, mac, MAC_LEN);
	assert_int_equal(x.told.mtu, mtu);
	assert_string_equal(x.told.name, "eth0");
}

/* --- tests --- */

/* What is known is no news; nor is anything about other interfaces. Later on its name may be another one. */
static void test_kernel(void **state)
{
	news(NL_LINK, "eth1", 7, mac_new, 1500);
	news(NL_LINK, "eth0", 2, mac_own, 65520);
	event();
	assert_int_equal(x.n, 0);
	news(NL_LINK, "wan0", 2, mac_own, 1400);
	event();
	is_told(1, mac_own, 1400);
	nslink_replied(&x.f, 0);
	news(NL_LINK, "wan0", 2, mac_new, 1400);
	event();
	is_told(2, mac_new, 1400);
	nslink_replied(&x.f, 0);
	news(NL_LINK_GONE, "eth0", 7, NULL, 0);
	event();
	assert_int_equal(x.gone, 0);
	news(NL_LINK_GONE, "wan0", 2, NULL, 0);
	news(NL_LINK, "wan0", 2, mac_own, 9000);
	event();
	event();
	assert_int_equal(x.gone, 1);
	assert_int_equal(x.n, 2);
}

/* One question at a time; the answer brings the next one, which has the latest of all. */
static void test_one_at_a_time(void **state)
{
	for (uint32_t mtu = 1300; mtu < 1310; mtu++) {
		news(NL_LINK, "eth0", 2, mac_own, mtu);
		event();
		is_told(1, mac_own, 1300);
	}
	nslink_replied(&x.f, -ENODEV);
	is_told(2, mac_own, 1309);
	nslink_replied(&x.f, 0);
	assert_int_equal(x.n, 2);
	/* It takes none now. */
	x.err = -EAGAIN;
	news(NL_LINK, "eth0", 2, mac_own, 1400);
	event();
	x.err = 0;
	news(NL_LINK, "eth0", 2, mac_own, 1401);
	event();
	is_told(3, mac_own, 1401);
}

/* Behind a bridge somebody else sends; that goes before what is said of the interface, unless its own MAC is another one now. */
static void test_frames(void **state)
{
	nslink_mac(&x.f, mac_own);
	nslink_mac(&x.f, mac_group);
	assert_int_equal(x.n, 0);
	nslink_mac(&x.f, mac_behind);
	is_told(1, mac_behind, 65520);
	nslink_replied(&x.f, 0);
	news(NL_LINK, "eth0", 2, mac_own, 1500);
	event();
	is_told(2, mac_behind, 1500);
	nslink_replied(&x.f, 0);
	news(NL_LINK, "eth0", 2, mac_new, 1500);
	event();
	is_told(3, mac_new, 1500);
	nslink_replied(&x.f, 0);
	/* Who sends from here and there is followed a few times a second. */
	x.loop.now_ns += NSEC_PER_SEC;
	for (unsigned i = 0; i < 1000; i++) {
		nslink_mac(&x.f, i % 2 ? mac_new : mac_behind);
		if (x.f.asked)
			nslink_replied(&x.f, 0);
		x.loop.now_ns += NSEC_PER_MSEC;
	}
	assert_in_range(x.n, 4, 3 + 25);
	x.f.fd = -1;
	nslink_mac(&x.f, mac_own);
	assert_in_range(x.n, 4, 3 + 25);
}

/* News that got lost are asked for; an interface that isn't there any more is the end. */
static void test_lost(void **state)
{
	x.news_err = -ENOBUFS;
	event();
	assert_int_equal(x.asked, 2);
	x.news_err = -ENODEV;
	event();
	assert_int_equal(x.gone, 1);
	nslink_mac(&x.f, mac_behind);
	assert_int_equal(x.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kernel, setup),
		cmocka_unit_test_setup(test_one_at_a_time, setup),
		cmocka_unit_test_setup(test_frames, setup),
		cmocka_unit_test_setup(test_lost, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
