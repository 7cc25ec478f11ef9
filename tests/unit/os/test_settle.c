/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/settle.h"

#define DEEP (256u << 10)

static char data[10000] = "data";
static char bss[10000];

/* Uses a lot of stack and returns where that was. */
static __attribute__((noinline)) uintptr_t dig(void)
{
	volatile char hole[DEEP];
	uintptr_t at = (uintptr_t)hole;

	for (size_t i = 0; i < DEEP; i++)
		hole[i] = 1;
	return at;
}

static size_t resident(uintptr_t at, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	unsigned char map[DEEP / 4096 + 1] = { 0 };
	size_t n = 0;

	at &= ~(page - 1);
	if (mincore((void *)at, len, map))
		return 0;
	for (size_t i = 0; i < len / page; i++)
		n += map[i] & 1;
	return n * page;
}

/* What is in use stays as it was, in all kinds of memory. */
static void test_kept(void **state)
{
	char *heap = malloc(100000), *big = malloc(10u << 20), local[100] = "local", text[30000];

	strcpy(bss, "bss");
	strcpy(heap, "heap");
	strcpy(big, "big");
	for (unsigned i = 0; i < 2; i++) {
		settle_memory();
		snprintf(text, sizeof(text), "%s %s %s %s %s %.3f", local, data, bss, heap, big, strtod("1.5", NULL));
		assert_string_equal(text, "local data bss heap big 1.500");
	}
	free(heap);
	free(big);
}

static void test_stack(void **state)
{
	uintptr_t at = dig();

	/* Only where a frame is where the stack is, which is not so with every sanitizer. */
	if (at > (uintptr_t)__builtin_frame_address(0) || (uintptr_t)__builtin_frame_address(0) - at > 2 * DEEP)
		return;
	assert_in_range(resident(at, DEEP / 2), DEEP / 2, DEEP / 2);
	settle_memory();
	assert_in_range(resident(at, DEEP / 2), 0, DEEP / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
