/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tcp/board.h"

#define UNA 0xfffff000u /* numbers wrap around in every test */
#define MSS 100
#define SPAN 4000u

/* Arrivals one behind the other, and what is to be sent again then. */
static void table(void **state)
{
	static const struct {
		const char *what;
		struct {
			uint32_t from, to;
		} in[8];
		uint32_t seq, len; /* len 0: nothing */
	} cases[] = {
		{ "nothing arrived", { { 0 } }, 0, 0 },
		{ "in order", { { 0, 300 } }, 0, 0 },
		{ "two segments behind are not enough", { { 100, 300 } }, 0, 0 },
		{ "a byte more is", { { 100, 301 } }, 0, 100 },
		{ "two ranges are not enough", { { 100, 150 }, { 200, 250 } }, 0, 0 },
		{ "three are", { { 100, 110 }, { 200, 210 }, { 300, 310 } }, 0, 100 },
		{ "the later hole has too little behind it", { { 100, 250 }, { 300, 400 } }, 0, 100 },
		{ "in the order of the stream, not of arrival", { { 600, 900 }, { 200, 300 } }, 0, 200 },
		{ "the first is filled, the second is lost", { { 0, 100 }, { 300, 900 } }, 100, 200 },
		{ "all is filled", { { 200, 900 }, { 0, 200 } }, 0, 0 },
		{ "from before the beginning", { { 500, 900 }, { (uint32_t)-100, 200 } }, 200, 300 },
		{ "over several holes", { { 100, 150 }, { 200, 250 }, { 300, 350 }, { 50, 320 }, { 360, 700 } }, 0, 50 },
		{ "what is there already changes nothing", { { 100, 250 }, { 100, 250 }, { 120, 200 } }, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct board b;
		uint32_t seq = UNA, len = 0;

		board_init(&b, UNA, 0);
		for (size_t j = 0; j < 8 && cases[i].in[j].to; j++) {
			board_arrived(&b, UNA + cases[i].in[j].from, UNA + cases[i].in[j].to);
			board_judge(&b, MSS);
		}
		if (board_next(&b, UNA + 1000, &seq, &len) != (cases[i].len > 0) || seq != UNA + cases[i].seq ||
		    len != cases[i].len)
			fail_msg("%s: %u bytes at %d", cases[i].what, len, (int)(seq - UNA));
	}
}

static void send_all(struct board *b, uint32_t max)
{
	uint32_t seq, len;

	while (board_next(b, max, &seq, &len))
		board_sent(b, seq, len, max);
}

static void once_until_it_is_lost_again(void **state)
{
	uint32_t seq, len, max = UNA + 2000;
	struct board b;

	board_init(&b, UNA, 0);
	board_arrived(&b, UNA + 100, UNA + 200);
	board_arrived(&b, UNA + 300, UNA + 1000);
	board_judge(&b, MSS);
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA);
	board_sent(&b, seq, 60, max); /* in two goes */
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA + 60);
	assert_int_equal(len, 40);
	board_sent(&b, seq, len, max);
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA + 200);
	board_sent(&b, seq, len, max);
	assert_false(board_next(&b, max, &seq, &len));
	/* More of what was sent before arrives: nothing is known of the repairs. */
	board_arrived(&b, UNA + 1000, UNA + 1500);
	board_judge(&b, MSS);
	assert_false(board_next(&b, max, &seq, &len));
	/* The later repair arrives: the earlier one is lost, and so is the end. */
	board_arrived(&b, UNA + 200, UNA + 300);
	board_judge(&b, MSS);
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA);
	assert_int_equal(len, 100);
	board_sent(&b, seq, len, max + 500);
	assert_true(board_next(&b, max + 500, &seq, &len));
	assert_int_equal(seq, UNA + 1500);
	assert_int_equal(len, 500); /* what was sent after that repair may be on its way */
	board_sent(&b, seq, len, max + 500);
	assert_false(board_next(&b, max + 500, &seq, &len));
	assert_false(board_quiet(&b));
	board_arrived(&b, UNA, UNA + 2500);
	board_judge(&b, MSS);
	assert_true(board_quiet(&b));
}

static void timeout_begins_anew(void **state)
{
	uint32_t seq, len, max = UNA + 1000;
	struct board b;

	board_init(&b, UNA, 0);
	board_arrived(&b, UNA + 200, UNA + 900);
	board_judge(&b, MSS);
	send_all(&b, max);
	board_timeout(&b, max, 100);
	assert_int_equal(b.credit, 100);
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA);
	assert_int_equal(len, 200);
	board_sent(&b, seq, len, max);
	assert_true(board_next(&b, max, &seq, &len));
	assert_int_equal(seq, UNA + 900); /* the end as well */
	assert_int_equal(len, 100);
	board_sent(&b, seq, len, max);
	assert_false(board_next(&b, max, &seq, &len));
}

/* Any arrivals, against a map of bytes. More holes than there is room for: what is known is true all the same. */
static void against_a_map(void **state)
{
	static bool map[SPAN];
	uint32_t r = 7;

	for (unsigned round = 0; round < 60; round++) {
		uint32_t una = 0, most = round % 2 ? 3 : 40;
		struct board b;

		board_init(&b, UNA, 0);
		memset(map, 0, sizeof(map));
		for (unsigned i = 0; i < 600; i++) {
			uint32_t from, to, want = 0, news, holes = 0;

			r = r * 1664525u + 1013904223u;
			from = (r >> 8) % SPAN;
			r = r * 1664525u + 1013904223u;
			to = MIN(from + 1 + (r >> 8) % most, SPAN);
			if (r >> 26 == 0) {
				from = una; /* all up to a place, as an acknowledgement says */
				una = to = MAX(una, to);
			}
			for (uint32_t at = from; at < to; at++)
				want += !map[at];
			news = board_arrived(&b, UNA + from, UNA + to);
			board_judge(&b, 1000);
			assert_true(news == want || (b.n == BOARD_HOLES && news < want));
			if (news == want)
				memset(map + from, 1, to - from);
			else /* a part of it, perhaps: ask */
				memset(map, 1, SPAN);
			for (uint32_t h = 0; news != want && h < b.n; h++)
				memset(map + (b.hole[h].from - UNA), 0,
				       MIN(h == b.n - 1 ? SPAN : b.hole[h].to - UNA, SPAN) - (b.hole[h].from - UNA));
			for (uint32_t h = 0; h < b.n; h++) {
				uint32_t end = h == b.n - 1 ? SPAN : b.hole[h].to - UNA;

				assert_true(h == 0 || seq_lt(b.hole[h - 1].to, b.hole[h].from));
				for (uint32_t at = b.hole[h].from - UNA; at < end; at++, holes++)
					assert_false(map[at]);
			}
			for (uint32_t at = 0; at < SPAN; at++)
				holes += map[at];
			assert_int_equal(holes, SPAN);
		}
	}
}

/*
 * A link that keeps the order and loses at random: everything arrives, nothing is sent again that was not lost,
 * and the timer is needed only when the very last things that were sent are lost.
 */
static void only_what_was_lost(void **state)
{
	enum { SEGS = 1500, FLY = 300 };
	static bool there[SEGS];
	static uint16_t fly[FLY * 40];

	for (uint32_t seed = 1; seed <= 60; seed++) {
		uint32_t r = seed * 2654435761u, una = 0, nxt = 0, head = 0, tail = 0, seq, len;
		uint32_t loss = seed % 6 * 60, spurious = 0, timeouts = 0;
		static bool lost[SEGS];
		struct board b;

		memset(there, 0, sizeof(there));
		memset(lost, 0, sizeof(lost));
		board_init(&b, UNA, 0);
		while (una < SEGS) {
			while (nxt < SEGS && nxt - una < FLY)
				fly[tail++ % ARRAY_SIZE(fly)] = (uint16_t)nxt++;
			if (head == tail) {
				timeouts++;
				board_timeout(&b, UNA + nxt * MSS, UINT32_MAX);
				memset(lost, 1, sizeof(lost));
			} else {
				uint32_t s = fly[head++ % ARRAY_SIZE(fly)];

				r = r * 1664525u + 1013904223u;
				if ((r >> 8) % 1000 < loss) {
					lost[s] = true;
					continue;
				}
				there[s] = true;
				while (una < SEGS && there[una])
					una++;
				board_arrived(&b, UNA + s * MSS, UNA + (s + 1) * MSS);
				board_judge(&b, MSS);
			}
			while (board_next(&b, UNA + nxt * MSS, &seq, &len)) {
				board_sent(&b, seq, MSS, UNA + nxt * MSS);
				spurious += !lost[(seq - UNA) / MSS];
				lost[(seq - UNA) / MSS] = false;
				fly[tail++ % ARRAY_SIZE(fly)] = (uint16_t)((seq - UNA) / MSS);
			}
		}
		assert_int_equal(spurious, 0);
		assert_true(timeouts <= (loss ? 4 : 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(once_until_it_is_lost_again),
		cmocka_unit_test(timeout_begins_anew),
		cmocka_unit_test(against_a_map),
		cmocka_unit_test(only_what_was_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
