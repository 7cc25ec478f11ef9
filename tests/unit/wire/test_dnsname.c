/* SPDX-License-Identifier: MIT */
#include "wire/dnsname.h"

#include "frames.h"

static void names(void **state)
{
	static const struct {
		const char *name, *want; /* NULL: not a name */
	} cases[] = {
		{ "a", "016100" },
		{ "a.", "016100" },
		{ "example.org", "076578616d706c65036f726700" },
		{ "_x-1.0", "045f782d31013000" },
		{ "", NULL },
		{ ".", NULL },
		{ "..", NULL },
		{ ".a", NULL },
		{ "a..b", NULL },
		{ "a..", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t want[64], out[64];
		size_t len = cases[i].want ? hex_bytes(cases[i].want, want, sizeof(want)) : 0;

		assert_int_equal(dnsname_len(cases[i].name), len);
		for (size_t room = 0; room <= len; room++) {
			struct wr w = wr_init(out, room);

			dnsname_put(&w, cases[i].name);
			assert_int_equal(wr_ok(&w), len && room == len);
			if (wr_ok(&w))
				assert_memory_equal(out, want, len);
		}
	}
}

/* 63 bytes a label, 255 a name with all its lengths (RFC 1035 2.3.4). */
static void limits(void **state)
{
	char name[300];

	memset(name, 'x', sizeof(name));
	name[63] = 0;
	assert_int_equal(dnsname_len(name), 65);
	name[63] = 'x';
	name[64] = 0;
	assert_int_equal(dnsname_len(name), 0);
	name[63] = name[127] = name[191] = '.';
	name[64] = 'x';
	for (size_t len = 193; len < 255; len++) {
		memset(name + 192, 'x', len - 192);
		name[len] = 0;
		assert_int_equal(dnsname_len(name), len <= 253 ? len + 2 : 0);
	}
	strcpy(name + 253, ".");
	assert_int_equal(dnsname_len(name), 255);
}

static void lists(void **state)
{
	static const char names[][DNSNAME_TEXT_MAX] = { "ab", "", "c.d", "e" };
	static const struct {
		size_t room;
		const char *want;
	} cases[] = {
		{ 0, "" },
		{ 3, "" },
		{ 4, "02616200" },
		{ 8, "02616200" },
		{ 9, "02616200 0163016400" },
		{ 11, "02616200 0163016400" },
		{ 12, "02616200 0163016400 016500" },
		{ 99, "02616200 0163016400 016500" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t want[16], out[16];
		struct wr w = wr_init(out, sizeof(out));
		size_t len = hex_bytes(cases[i].want, want, sizeof(want));

		dnsname_list_put(&w, names, ARRAY_SIZE(names), cases[i].room);
		assert_true(wr_ok(&w));
		assert_int_equal(wr_len(&w), len);
		assert_memory_equal(out, want, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(limits),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
