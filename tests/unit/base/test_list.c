/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/list.h"

struct item {
	struct list node;
	char name;
};

static struct item a, b, c, d;

static int setup(void **state)
{
	struct item *const all[] = { &a, &b, &c, &d };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		list_init(&all[i]->node);
		all[i]->name = (char)('a' + i);
	}
	return 0;
}

/* Names in order, and every link both ways. */
static void check(const struct list *l, const char *names)
{
	const struct list *n;

	for (n = l->next; n != l; n = n->next, names++) {
		assert_int_equal(container_of(n, struct item, node)->name, *names);
		assert_ptr_equal(n->next->prev, n);
		assert_ptr_equal(n->prev->next, n);
	}
	assert_int_equal(*names, '\0');
	assert_ptr_equal(l->next->prev, l);
}

static void test_push_del(void **state)
{
	struct list l;

	list_init(&l);
	assert_true(list_empty(&l));
	list_push(&l, &a.node);
	list_push(&l, &b.node);
	list_push(&l, &c.node);
	check(&l, "abc");
	list_del(&b.node);
	assert_true(list_empty(&b.node));
	check(&l, "ac");
	list_del(&b.node); /* in no list: no effect */
	check(&l, "ac");
	list_push(&l, &b.node);
	check(&l, "acb");
	list_del(&a.node);
	list_del(&b.node);
	list_del(&c.node);
	assert_true(list_empty(&l));
}

static void test_splice(void **state)
{
	struct list l, m;

	list_init(&l);
	list_init(&m);
	list_splice(&l, &m);
	check(&l, "");
	list_push(&m, &a.node);
	list_push(&m, &b.node);
	list_splice(&l, &m);
	check(&l, "ab");
	check(&m, "");
	list_push(&m, &c.node);
	list_push(&m, &d.node);
	list_splice(&l, &m);
	check(&l, "abcd");
	check(&m, "");
	list_splice(&l, &m);
	check(&l, "abcd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_push_del, setup),
		cmocka_unit_test_setup(test_splice, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
