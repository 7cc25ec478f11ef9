/* SPDX-License-Identifier: MIT */
#include "fwd/inbound.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define TCP 6
#define UDP 17

static struct addr ip(const char *text)
{
	struct addr a = addr_any6;

	if (text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

struct world {
	struct guest guest;
	struct nat nat;
	struct fwd_rule rule;
	struct flow_table *flows;
};

static void world_init_secret(struct world *w, uint64_t secret)
{
	const struct hash_key key = { { 5, secret } };

	*w = (struct world){
		.guest = { .addr4 = ip("10.0.2.15"), .addr6 = ip("2001:db8::15"), .ll6 = ip("fe80::15") },
		.nat.v4 = { .our = ip("10.0.2.2"), .map_loopback = ip("10.0.2.2"), .host = ip("192.0.2.10") },
		.nat.v6 = { .our = ip("fe80::1"), .map_loopback = ip("fe80::1"), .host = ip("2001:db8::10") },
		.nat.our_ll6 = ip("fe80::1"),
		.flows = flow_table_new(64, sizeof(struct flow), &key),
	};
	assert_non_null(w->flows);
}

static void world_init(struct world *w)
{
	world_init_secret(w, 6);
}

static struct inbound inbound(struct world *w, uint8_t proto, const struct ep *peer)
{
	return (struct inbound){
		.guest = &w->guest, .nat = &w->nat, .flows = w->flows, .rule = &w->rule, .proto = proto, .to = 80, .peer = peer
	};
}

static void who_is_who(void **state)
{
	static const struct {
		const char *peer, *target; /* target of the rule, or NULL */
		const char *guest, *seen; /* expected; NULL: -EADDRNOTAVAIL */
		bool no_guest; /* that has an address */
	} cases[] = {
		{ "198.51.100.7", NULL, "10.0.2.15", "198.51.100.7", false },
		{ "2001:db8:1::7", NULL, "2001:db8::15", "2001:db8:1::7", false },
		{ "127.0.0.1", NULL, "10.0.2.15", "10.0.2.2", false },
		{ "127.9.9.9", NULL, "10.0.2.15", "10.0.2.2", false },
		/* A link-local peer, and one that is only shown as such. */
		{ "fe80::77", NULL, "fe80::15", "fe80::77", false },
		{ "::1", NULL, "fe80::15", "fe80::1", false },
		{ "198.51.100.7", "10.0.2.99", "10.0.2.99", "198.51.100.7", false },
		{ "::1", "2001:db8::99", "2001:db8::99", "fe80::1", false },
		{ "2001:db8:1::7", "2001:db8::99", "2001:db8::99", "2001:db8:1::7", true },
		/* Nobody to go to, or to come from. */
		{ "198.51.100.7", "2001:db8::99", NULL, NULL, false },
		{ "198.51.100.7", NULL, NULL, NULL, true },
		{ "2001:db8:1::7", NULL, NULL, NULL, true },
		{ "0.0.0.0", NULL, NULL, NULL, false },
		{ "224.0.0.1", NULL, NULL, NULL, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ep peer = { ip(cases[i].peer), 6000 };
		struct flow *f = NULL;
		struct flow_key key;
		struct world w;
		struct inbound in;

		world_init(&w);
		in = inbound(&w, i % 2 ? TCP : UDP, &peer);
		if (cases[i].target) {
			w.rule.flags = FWD_TARGET;
			w.rule.target = ip(cases[i].target);
		}
		if (cases[i].no_guest) {
			w.guest.addr4 = addr_any4;
			w.guest.addr6 = w.guest.ll6 = addr_any6;
		}
		if (cases[i].guest) {
			struct addr guest = ip(cases[i].guest), seen = ip(cases[i].seen);
			struct flow_key want = flow_key_init(in.proto, &guest, 80, &seen, 6000);

			assert_int_equal(inbound_find(&in, &key, &f), 0);
			assert_null(f);
			assert_memory_equal(&key, &want, sizeof(key));
		} else {
			assert_int_equal(inbound_find(&in, &key, &f), -EADDRNOTAVAIL);
		}
		flow_table_free(w.flows);
	}
}

static void no_port(void **state)
{
	struct ep peer = { ip("198.51.100.7"), 0 };
	struct flow *f;
	struct flow_key key;
	struct world w;
	struct inbound in;

	world_init(&w);
	in = inbound(&w, UDP, &peer);
	assert_int_equal(inbound_find(&in, &key, &f), -EADDRNOTAVAIL);
	flow_table_free(w.flows);
}

static bool is(const void *ctx, const struct flow *f)
{
	return ctx == f;
}

/* Peers of one look: all different for the guest, until there are too many of them. */
static void alike(void **state)
{
	struct ep peer = { ip("127.0.0.1"), 6000 };
	struct flow *f, *first, *second;
	struct flow_key key;
	struct world w;
	struct inbound in;
	unsigned n = 2;
	int rc;

	world_init(&w);
	in = inbound(&w, TCP, &peer);
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_int_equal(key.rport, 6000);
	first = flow_new(w.flows, &key);
	peer.addr = ip("127.0.0.2");
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_null(f);
	assert_true(addr_eq(&key.remote, &w.nat.v4.our));
	assert_in_range(key.rport, 49152, 65535);
	second = flow_new(w.flows, &key);

	/* Each is known again by what it was. */
	in.same = is;
	in.ctx = first;
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_ptr_equal(f, first);
	in.ctx = second;
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_ptr_equal(f, second);
	assert_memory_equal(&key, &second->key, sizeof(key));

	/* Another protocol or port of the guest is another matter. */
	in.ctx = NULL;
	in.proto = UDP;
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_int_equal(key.rport, 6000);
	in.proto = TCP;
	in.to = 81;
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_int_equal(key.rport, 6000);
	in.to = 80;
	while (!(rc = inbound_find(&in, &key, &f))) {
		assert_null(f);
		assert_non_null(flow_new(w.flows, &key));
		n++;
	}
	assert_int_equal(rc, -EADDRINUSE);
	assert_int_equal(n, 16);
	flow_table_free(w.flows);
}

#define SECRETS 256
#define ALTS 16384

/* The port by which a peer of the same look as another is shown. */
static uint16_t other_port(uint64_t secret, uint16_t peer_port)
{
	struct ep peer = { ip("127.0.0.1"), peer_port };
	struct flow *f;
	struct flow_key key;
	struct world w;
	struct inbound in;

	world_init_secret(&w, secret);
	in = inbound(&w, TCP, &peer);
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	assert_non_null(flow_new(w.flows, &key));
	assert_int_equal(inbound_find(&in, &key, &f), 0);
	flow_table_free(w.flows);
	return key.rport;
}

/* All over the range, by a secret and not by what the peer has; the distance between two peers tells nothing either. */
static void not_foreseen(void **state)
{
	bool seen[ALTS] = { false }, apart[ALTS] = { false };
	unsigned different = 0, distances = 0, low = 0;

	for (uint64_t secret = 0; secret < SECRETS; secret++) {
		unsigned a = other_port(secret, 6000), b = other_port(secret, 6001), d = (a - b) % ALTS;

		assert_in_range(a, 49152, 65535);
		different += !seen[a - 49152];
		distances += !apart[d];
		seen[a - 49152] = apart[d] = true;
		low += a < 49152 + ALTS / 2;
	}
	/* By chance two of them or so are the same, and half of them in the lower half. */
	assert_true(different > SECRETS - 16);
	assert_true(distances > SECRETS - 16);
	assert_in_range(low, SECRETS / 4, SECRETS * 3 / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_who),
		cmocka_unit_test(no_port),
		cmocka_unit_test(alike),
		cmocka_unit_test(not_foreseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
