/* SPDX-License-Identifier: MIT */
#include "tcp/board.h"

#include <string.h>

#define DUP_THRESH 3 /* RFC 6675 section 2 */

void board_init(struct board *b, uint32_t una, uint32_t slack)
{
	b->n = 1;
	b->lost = una;
	b->sent = b->arrived = 0;
	b->slack = slack;
	b->now_us = b->rtt_us = 0;
	b->credit = UINT32_MAX;
	b->hole[0] = (struct board_hole){ .from = una, .to = una, .again = una };
}

/* What has not arrived of all before end is lost. */
static void board_lose(struct board *b, uint32_t end)
{
	if (seq_gt(end, b->lost))
		b->lost = end;
}

void board_lose_first(struct board *b, uint32_t len)
{
	const struct board_hole *h = &b->hole[0];
	uint32_t end = h->from + len;

	board_lose(b, b->n > 1 && seq_lt(h->to, end) ? h->to : end);
}

/* [from, to) of the hole arrived: what was sent before it and has not, is lost. */
static void hole_arrived(struct board *b, const struct board_hole *h, uint32_t from, uint32_t to)
{
	uint32_t end = seq_lt(to, h->again) ? to : h->again, pos = h->pos - (h->again - end);

	if (seq_le(h->again, from) || b->now_us - h->at_us < b->rtt_us)
		return;
	if (seq_gt(pos, b->arrived))
		b->arrived = pos;
	board_lose(b, h->max - b->slack);
}

static void hole_starts(struct board_hole *h, uint32_t from)
{
	h->from = from;
	if (seq_lt(h->again, from))
		h->again = from;
}

static void hole_ends(struct board_hole *h, uint32_t to)
{
	h->to = to;
	if (seq_gt(h->again, to)) {
		h->pos -= h->again - to;
		h->again = to;
	}
}

/* Takes [from, to), which lies in hole i, out of it. Returns how many holes are left of it, or -1 if there is no room for them. */
static int hole_cut(struct board *b, unsigned i, uint32_t from, uint32_t to)
{
	struct board_hole *h = &b->hole[i];
	bool left = seq_gt(from, h->from), right = i == b->n - 1 || seq_lt(to, h->to);

	if (left && right && b->n == BOARD_HOLES)
		return -1;
	hole_arrived(b, h, from, to);
	if (left && right) {
		memmove(h + 1, h, (b->n - i) * sizeof(*h));
		b->n++;
	} else if (!left && !right) {
		memmove(h, h + 1, (b->n - i - 1) * sizeof(*h));
		b->n--;
	}
	if (left)
		hole_ends(h, from);
	if (right)
		hole_starts(h + left, to);
	return left + right;
}

uint32_t board_arrived(struct board *b, uint32_t from, uint32_t to)
{
	uint32_t news = 0;
	unsigned i = 0;

	while (i < b->n && seq_lt(b->hole[i].from, to)) {
		const struct board_hole *h = &b->hole[i];
		uint32_t f = seq_gt(h->from, from) ? h->from : from, t = i < b->n - 1 && seq_lt(h->to, to) ? h->to : to;
		int left;

		if (seq_ge(f, t)) {
			i++;
			continue;
		}
		left = hole_cut(b, i, f, t);
		if (left < 0)
			break;
		news += t - f;
		i += (unsigned)left;
	}
	if (seq_lt(b->lost, b->hole[0].from))
		b->lost = b->hole[0].from;
	return news;
}

void board_judge(struct board *b, uint16_t mss)
{
	uint32_t bytes = 0, ranges = 0;

	for (unsigned i = b->n - 1; i-- > 0;) {
		bytes += b->hole[i + 1].from - b->hole[i].to;
		ranges += b->hole[i + 1].from != b->hole[i].to;
		if (bytes <= b->slack || (ranges < DUP_THRESH && bytes <= (DUP_THRESH - 1) * (uint32_t)mss))
			continue;
		board_lose(b, b->hole[i].to);
		break;
	}
	for (unsigned i = 0; i < b->n; i++) {
		struct board_hole *h = &b->hole[i];

		if (seq_gt(h->again, h->from) && seq_lt(h->pos + b->slack, b->arrived))
			h->again = h->from;
	}
}

bool board_next(const struct board *b, uint32_t max, uint32_t *ret_seq, uint32_t *ret_len)
{
	for (unsigned i = 0; i < b->n && seq_lt(b->hole[i].from, b->lost); i++) {
		const struct board_hole *h = &b->hole[i];
		uint32_t end = i == b->n - 1 ? max : h->to;

		if (seq_gt(end, b->lost))
			end = b->lost;
		if (seq_ge(h->again, end))
			continue;
		*ret_seq = h->again;
		*ret_len = end - h->again;
		return true;
	}
	return false;
}

void board_sent(struct board *b, uint32_t seq, uint32_t len, uint32_t max)
{
	unsigned i = b->n - 1;
	struct board_hole *h;

	while (i && seq_gt(b->hole[i].from, seq))
		i--;
	h = &b->hole[i];
	/* Something else was sent since the first part of it: two holes from now on, each with its own place in time. */
	if (seq_gt(seq, h->from) && (h->pos != b->sent || h->max != max) && b->n < BOARD_HOLES) {
		memmove(h + 1, h, (b->n - i) * sizeof(*h));
		b->n++;
		(h++)->to = seq;
		h->from = seq;
	}
	b->sent += len;
	h->again = seq + len;
	h->pos = b->sent;
	h->max = max;
	h->at_us = b->now_us;
}

void board_timeout(struct board *b, uint32_t max, uint32_t credit)
{
	for (unsigned i = 0; i < b->n; i++)
		b->hole[i].again = b->hole[i].from;
	b->arrived = b->sent;
	b->credit = credit;
	board_lose(b, max);
}

void board_forgive(struct board *b, uint16_t mss)
{
	b->lost = b->hole[0].from;
	b->credit = UINT32_MAX;
	board_judge(b, mss);
}

bool board_quiet(const struct board *b)
{
	return b->n == 1 && b->lost == b->hole[0].from && b->credit == UINT32_MAX;
}
