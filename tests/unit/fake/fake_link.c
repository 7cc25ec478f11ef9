/* SPDX-License-Identifier: MIT */
#include "fake_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/iov.h"

static struct fake_link *of(struct link *l)
{
	return container_of(l, struct fake_link, link);
}

static void body_fill(const struct fake_link *fl, struct txframe *f, uint8_t *buf)
{
	size_t left = fl->body, piece = fl->piece ? fl->piece : fl->body;

	f->n = 0;
	while (left && f->n < LINK_IOV_MAX) {
		size_t n = f->n == LINK_IOV_MAX - 1 ? left : MIN(left, piece);

		f->body[f->n++] = (struct iovec){ buf + (fl->body - left), n };
		left -= n;
	}
	f->cap = fl->body;
}

static size_t fake_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct fake_link *fl = of(l);
	size_t n = w->n, hdr = w->hdr, len = w->len;

	fl->reserves++;
	assert_in_range(n, 1, LINK_BATCH);
	assert_true(hdr <= FAKE_LINK_HDR_MAX);
	assert_true(len <= 65535 + 14); /* a whole Ethernet frame, for link_send() */
	if (!l->up)
		return 0;
	if (n > fl->room || fl->full >> w->queue & 1) {
		n = fl->full >> w->queue & 1 ? 0 : fl->room;
		l->stats.tx_full++;
	}
	fl->hdr = hdr;
	fl->queue = w->queue;
	fl->body = len;
	fl->given = n;
	fl->next = 0;
	for (size_t i = 0; i < n; i++) {
		/* A new run of exactly this size each time, so that the address sanitizer sees every byte too many. */
		free(fl->buf[i]);
		fl->buf[i] = malloc(len ? len : 1);
		assert_non_null(fl->buf[i]);
		memset(fl->buf[i], 0xdb, len);
		memset(&f[i], 0, sizeof(f[i]));
		body_fill(fl, &f[i], fl->buf[i]);
		f[i].cookie = (uint32_t)i;
	}
	return n;
}

static void capture(struct fake_link *fl, const struct txhdr *h, const void *body, size_t len)
{
	struct fake_frame *f;

	assert_true(fl->frames < FAKE_LINK_FRAMES);
	f = &fl->frame[fl->frames++];
	*f = (struct fake_frame){
		.bytes = malloc(h->len + len + 1),
		.len = h->len + len,
		.hdr_len = h->len,
		.gso_type = h->gso_type,
		.gso_size = h->gso_size,
		.csum_start = h->csum_start,
		.csum_offset = h->csum_offset,
		.queue = fl->queue,
	};
	assert_non_null(f->bytes);
	if (h->len)
		memcpy(f->bytes, h->bytes, h->len);
	if (len)
		memcpy(f->bytes + h->len, body, len);
	fl->link.stats.tx_frames++;
	fl->link.stats.tx_bytes += f->len;
}

static void fake_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct fake_link *fl = of(l);

	fl->commits++;
	assert_true(fl->next < fl->given);
	assert_int_equal(f->cookie, fl->next);
	assert_int_equal(h->len, fl->hdr);
	assert_true(len <= fl->body);
	if (!(l->offloads & LINK_OFF_CSUM))
		assert_int_equal(h->csum_start, 0);
	if (fl->room != SIZE_MAX)
		fl->room--;
	capture(fl, h, fl->buf[fl->next], len);
	/* What is behind the frame is the link's. */
	memset(fl->buf[fl->next] + len, 0xee, fl->body - len);
	fl->next++;
}

static void fake_flush(struct link *l)
{
	of(l)->flushes++;
	of(l)->given = 0;
}

static void fake_reset(struct link *l)
{
	l->up = false;
}

static void fake_event(struct link *l, unsigned which, uint32_t events)
{
	fail_msg("no events for %p %u %x", (void *)l, which, events);
}

static void fake_free(struct link *l)
{
	fake_link_fini(of(l));
}

static const struct link_ops ops = {
	.on_event = fake_event,
	.reserve = fake_reserve,
	.commit = fake_commit,
	.flush = fake_flush,
	.reset = fake_reset,
	.free = fake_free,
};

void fake_link_init(struct fake_link *l)
{
	memset(l, 0, sizeof(*l));
	l->link.ops = &ops;
	l->link.mtu = 1500;
	l->link.max_body = 1500;
	l->link.up = true;
	l->room = SIZE_MAX;
	l->frame = calloc(FAKE_LINK_FRAMES, sizeof(*l->frame));
	assert_non_null(l->frame);
}

void fake_link_clear(struct fake_link *l)
{
	for (size_t i = 0; i < l->frames; i++)
		free(l->frame[i].bytes);
	l->frames = 0;
}

void fake_link_fini(struct fake_link *l)
{
	fake_link_clear(l);
	free(l->frame);
	l->frame = NULL;
	for (size_t i = 0; i < LINK_BATCH; i++) {
		free(l->buf[i]);
		l->buf[i] = NULL;
	}
}

void fake_link_room(struct fake_link *l, size_t n)
{
	l->room = n;
}

const struct fake_frame *fake_link_frame(const struct fake_link *l, size_t i)
{
	assert_true(i < l->frames);
	return &l->frame[i];
}
