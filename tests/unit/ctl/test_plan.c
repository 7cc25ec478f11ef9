/* SPDX-License-Identifier: MIT */
#include "ctl/plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct ctl_rules rules;
static struct fwd_table in, out;
static struct ctl_plan *plan;

static void rule_add(struct fwd_table *t, uint8_t proto, const char *spec)
{
	struct fwd_ctx c = { .opt = "-t", .proto = proto, .v4 = true, .v6 = true, .pasta = true, .outwards = t == &out };
	char err[FWD_ERR_LEN];

	assert_int_equal(fwd_parse(&c, spec, t, err), 0);
}

static int setup(void **state)
{
	rules = (struct ctl_rules){ .v4 = true, .v6 = true, .pasta = true, .tcp = true, .udp = true };
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	rule_add(&in, IPPROTO_TCP, "80");
	rule_add(&in, IPPROTO_TCP, "8000-8010:9000-9010");
	rule_add(&in, IPPROTO_UDP, "53");
	rule_add(&out, IPPROTO_TCP, "5000");
	plan = malloc(sizeof(*plan));
	assert_non_null(plan);
	return 0;
}

static int teardown(void **state)
{
	free(plan);
	return 0;
}

/* What becomes of it as text: "=" stays, "-" goes, "+" is new. */
static const char *run(const char *steps)
{
	static const char mark[] = { [CTL_KEEP] = '=', [CTL_REMOVE] = '-', [CTL_ADD] = '+' };
	const struct fwd_table *const now[] = { &in, rules.pasta ? &out : NULL };
	static char text[1024];
	json_t *j = json_loads(steps, 0, NULL);
	char buf[100];
	size_t len = 0;

	assert_non_null(j);
	text[0] = '\0';
	if (ctl_plan(&rules, now, j, plan)) {
		snprintf(text, sizeof(text), "%s %i", plan->error, plan->step);
		assert_true(plan->message[0]);
	}
	for (unsigned i = 0; !plan->error && i < plan->n; i++) {
		const struct ctl_item *it = &plan->item[i];
		const struct fwd_table *t = it->table == CTL_IN ? &in : &out;

		if (it->fate != CTL_ADD)
			assert_memory_equal(&t->rule[it->place], &it->rule, sizeof(it->rule));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%c%c%c%s", i ? " " : "", mark[it->fate],
					it->table == CTL_IN ? 'i' : 'o', it->rule.proto == IPPROTO_TCP ? 't' : 'u',
					fwd_rule_fmt(&it->rule, buf, sizeof(buf)));
		assert_true(len < sizeof(text));
	}
	json_decref(j);
	return text;
}

#define STEP(what, table, proto, spec) "{\"" what "\":{\"table\":\"" table "\",\"proto\":\"" proto "\",\"spec\":\"" spec "\"}}"
#define ALL "=it*/80 =it*/8000-8010:9000-9010 =iu*/53 =ot*/5000"

static void test_good(void **state)
{
	static const struct {
		const char *steps, *plan;
	} t[] = {
		{ "[]", ALL },
		{ "[" STEP("add", "in", "tcp", "none") "]", ALL },
		{ "[" STEP("add", "in", "tcp", "81") "]", ALL " +it*/81" },
		{ "[" STEP("add", "in", "tcp", "0.0.0.0/90:10.0.0.1/91") "]", ALL " +it0.0.0.0/90:10.0.0.1/91" },
		{ "[" STEP("add", "in", "udp", "80") "]", ALL " +iu*/80" },
		{ "[" STEP("add", "out", "tcp", "80") "]", ALL " +ot*/80" },
		{ "[" STEP("add", "in", "tcp", "1-9,~4-5") "]", ALL " +it*/1-3 +it*/6-9" },
		{ "[" STEP("remove", "in", "tcp", "80") "]", "-it*/80 =it*/8000-8010:9000-9010 =iu*/53 =ot*/5000" },
		{ "[" STEP("remove", "in", "tcp", "8000-8010:9000-9010") "]",
		  "=it*/80 -it*/8000-8010:9000-9010 =iu*/53 =ot*/5000" },
		/* In order: another one in its place, and the same one again. */
		{ "[" STEP("remove", "in", "tcp", "80") "," STEP("add", "in", "tcp", "80:81") "]",
		  "-it*/80 =it*/8000-8010:9000-9010 =iu*/53 =ot*/5000 +it*/80:81" },
		{ "[" STEP("remove", "in", "tcp", "80") "," STEP("add", "in", "tcp", "80") "]", ALL },
		{ "[" STEP("add", "in", "tcp", "90") "," STEP("remove", "in", "tcp", "90") "]", ALL },
		/* Everything else goes. */
		{ "[{\"clear\":\"in\"}]", "-it*/80 -it*/8000-8010:9000-9010 -iu*/53 =ot*/5000" },
		{ "[{\"clear\":\"in\"}," STEP("add", "in", "udp", "53") "," STEP("add", "in", "tcp", "80-81") "]",
		  "-it*/80 -it*/8000-8010:9000-9010 =iu*/53 =ot*/5000 +it*/80-81" },
		{ "[{\"clear\":\"out\"}]", "=it*/80 =it*/8000-8010:9000-9010 =iu*/53 -ot*/5000" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_string_equal(run(t[i].steps), t[i].plan);
}

static void test_bad(void **state)
{
	static const struct {
		const char *steps, *error;
	} t[] = {
		{ "{}", "bad-argument -1" },
		{ "[0]", "bad-argument 0" },
		{ "[{}]", "bad-argument 0" },
		{ "[{\"clear\":\"in\",\"add\":{}}]", "bad-argument 0" },
		{ "[{\"clear\":\"both\"}]", "bad-argument 0" },
		{ "[{\"clear\":7}]", "bad-argument 0" },
		{ "[{\"add\":[]}]", "bad-argument 0" },
		{ "[{\"add\":{\"table\":\"in\",\"proto\":\"tcp\"}}]", "bad-argument 0" },
		{ "[{\"add\":{\"table\":\"in\",\"proto\":\"tcp\",\"spec\":80}}]", "bad-argument 0" },
		{ "[" STEP("add", "in", "sctp", "80") "]", "bad-argument 0" },
		{ "[" STEP("add", "IN", "tcp", "80") "]", "bad-argument 0" },
		{ "[" STEP("add", "in", "tcp", "") "]", "bad-argument 0" },
		{ "[" STEP("add", "in", "tcp", "90") "," STEP("add", "in", "tcp", "0") "]", "bad-argument 1" },
		{ "[" STEP("add", "out", "tcp", "127.0.0.1/80") "]", "bad-argument 0" },
		{ "[" STEP("add", "in", "tcp", "80") "]", "conflict 0" },
		{ "[" STEP("add", "in", "tcp", "127.0.0.1/8003") "]", "conflict 0" },
		{ "[" STEP("add", "in", "tcp", "90") "," STEP("add", "in", "tcp", "90") "]", "conflict 1" },
		{ "[" STEP("remove", "in", "tcp", "90") "]", "not-found 0" },
		{ "[" STEP("remove", "in", "tcp", "0.0.0.0/80") "]", "not-found 0" },
		{ "[" STEP("remove", "in", "tcp", "80:81") "]", "not-found 0" },
		{ "[" STEP("remove", "in", "tcp", "8000-8009:9000-9009") "]", "not-found 0" },
		{ "[" STEP("remove", "in", "udp", "80") "]", "not-found 0" },
		{ "[" STEP("remove", "in", "tcp", "80") "," STEP("remove", "in", "tcp", "80") "]", "not-found 1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_string_equal(run(t[i].steps), t[i].error);
}

static void test_modes(void **state)
{
	rules.udp = false;
	assert_string_equal(run("[" STEP("add", "in", "udp", "1") "]"), "not-possible 0");
	rules.pasta = false;
	assert_string_equal(run("[" STEP("add", "out", "tcp", "1") "]"), "not-possible 0");
	assert_string_equal(run("[{\"clear\":\"out\"}]"), "not-possible 0");
	assert_string_equal(run("[" STEP("add", "in", "tcp", "auto") "]"), "bad-argument 0");
	rules.v6 = false;
	assert_string_equal(run("[" STEP("add", "in", "tcp", "[::1]/1") "]"), "bad-argument 0");
}

/* A place that is free is no rule; and all of a full table can be replaced. */
static void test_places(void **state)
{
	char *text = malloc(65536);
	size_t len = 0;

	in.rule[1] = fwd_rule_none;
	assert_string_equal(run("[" STEP("add", "in", "tcp", "8000") "]"), "=it*/80 =iu*/53 =ot*/5000 +it*/8000");

	assert_non_null(text);
	memset(&in, 0, sizeof(in));
	for (unsigned i = 0; i < FWD_RULES_MAX; i++) {
		char spec[16];

		snprintf(spec, sizeof(spec), "%u", 2 * i + 1);
		rule_add(&in, IPPROTO_TCP, spec);
	}
	assert_string_equal(run("[" STEP("add", "in", "tcp", "60000") "]"), "bad-argument 0");
	len += (size_t)snprintf(text, 65536, "[{\"clear\":\"in\"}");
	for (unsigned i = 0; i < FWD_RULES_MAX; i++)
		len += (size_t)snprintf(text + len, 65536 - len, "," STEP("add", "in", "tcp", "%u"), 2 * i + 2);
	snprintf(text + len, 65536 - len, "]");
	{
		const struct fwd_table *const now[] = { &in, &out };
		json_t *j = json_loads(text, 0, NULL);

		assert_int_equal(ctl_plan(&rules, now, j, plan), 0);
		assert_int_equal(plan->n, 2 * FWD_RULES_MAX + 1);
		json_decref(j);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
