/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "link/vhost.h"

int setup(void **state)
{
	bool packed = *state;

	*state = guest_new(false);
	((struct guest *)*state)->packed = packed;
	return 0;
}

int teardown(void **state)
{
	guest_free(*state);
	return 0;
}

uint32_t guest_rnd(struct guest *t, uint32_t below)
{
	t->seed = t->seed * 1664525u + 1013904223u;
	return (t->seed >> 8) % below;
}

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct guest *t = container_of(w, struct guest, w);

	t->last.len = f->len;
	t->last.gso_type = f->gso_type;
	t->last.gso_size = f->gso_size;
	t->last.pieces = f->n;
	assert_int_equal(iov_copy_out(f->iov, f->n, 0, t->last.bytes, sizeof(t->last.bytes)), f->len);
	t->frames++;
}

static int turns(struct front *f)
{
	struct guest *t = container_of(f, struct guest, f);

	for (unsigned i = 0; i < 4; i++)
		link_world_turn(&t->w);
	return 0;
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
	/* Those that were held back belong to another second. */
	((struct guest *)ctx)->warnings += level == LOG_LVL_WARN && !strstr(line, "held back");
}

struct guest *guest_new(bool one_off)
{
	struct guest *t = calloc(1, sizeof(*t));
	struct sockaddr_un sa;
	socklen_t len;

	assert_non_null(t);
	log_set_sink(on_log, t);
	assert_int_equal(link_world_init(&t->w, on_frame), 0);
	len = link_world_vhost(&t->w, one_off, &sa);
	front_init_client(&t->f, &sa, len, turns);
	for (unsigned i = 0; i < 2; i++) {
		t->kick[i] = eventfd(0, EFD_NONBLOCK);
		t->call[i] = eventfd(0, EFD_NONBLOCK);
	}
	t->seed = 1;
	return t;
}

void guest_free(struct guest *t)
{
	link_world_fini(&t->w);
	for (unsigned i = 0; i < 2; i++) {
		if (t->kick[i] >= 0)
			close(t->kick[i]);
		close(t->call[i]);
	}
	front_fini_client(&t->f);
	free(t);
}

void guest_turns(struct guest *t)
{
	turns(&t->f);
}

void guest_wait(struct guest *t)
{
	assert_int_equal(loop_turn(&t->w.loop), 0);
	link_flush(t->w.link);
}

void guest_up(struct guest *t, uint64_t features, uint16_t size)
{
	unsigned up = t->w.up;
	bool events = features & GUEST_EVENTS;

	t->f.drv.packed = t->packed;
	if (t->packed)
		features |= GUEST_PACKED;
	front_negotiate(&t->f, GUEST_BASIC | features, 0);
	assert_int_equal(front_memory(&t->f), 0);
	t->rx = t->f.drv;
	t->rx.ring_at = 0x20000;
	drv_ring_init(&t->rx, size, 0, events);
	drv_ring_init(&t->f.drv, size, 0, events);
	front_ring(&t->f, &t->rx, 0, t->kick[0], t->call[0]);
	assert_int_equal(t->w.up, up);
	front_ring(&t->f, &t->f.drv, 1, t->kick[1], t->call[1]);
	assert_int_equal(t->w.up, up + 1);
	assert_true(t->w.link->up);
}

void guest_kick(struct guest *t, struct drv *d, unsigned ring)
{
	if (drv_kick(d))
		assert_int_equal(eventfd_write(t->kick[ring], 1), 0);
	turns(&t->f);
}

void guest_send(struct guest *t, const uint8_t hdr[GUEST_VNET], size_t len)
{
	struct drv_piece p[2] = { { DRV_ROOM, GUEST_VNET }, { DRV_ROOM + 64, (uint32_t)len } };

	memcpy(drv_at(&t->f.drv, p[0].addr, GUEST_VNET), hdr, GUEST_VNET);
	for (size_t i = 0; i < len; i++)
		*drv_at(&t->f.drv, p[1].addr + i, 1) = (uint8_t)(i * 31 + len);
	drv_add(&t->f.drv, p, 2, 0);
	guest_kick(t, &t->f.drv, 1);
}

void guest_buffers(struct guest *t, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct drv_piece p = { DRV_ROOM + 0x20000 + (t->rx.added % t->rx.size) * GUEST_BUF, len };

		drv_add(&t->rx, &p, 1, DRV_WRITE);
	}
	guest_kick(t, &t->rx, 0);
}

size_t guest_receive(struct guest *t, uint32_t len)
{
	unsigned buffers = 1;
	size_t n = 0;

	for (unsigned i = 0; i < buffers; i++) {
		uint64_t at = DRV_ROOM + 0x20000 + (t->rx.reaped % t->rx.size) * GUEST_BUF;
		uint64_t slot = t->rx.reaped % t->rx.size;
		struct drv_used u = drv_reap(&t->rx);

		assert_int_equal(u.id, slot);
		assert_in_range(u.len, 1, len);
		memcpy(t->frame + n, drv_at(&t->rx, at, u.len), u.len);
		n += u.len;
		if (!i)
			buffers = t->frame[10] | (unsigned)t->frame[11] << 8;
		assert_in_range(buffers, 1, t->rx.size);
		/* All but the last are full. */
		if (i + 1 < buffers)
			assert_int_equal(u.len, len);
	}
	return n;
}

bool guest_frame(struct guest *t)
{
	static const uint8_t frame[GUEST_FRAME] = { 1, 2, 3 };
	bool sent = !link_send(t->w.link, 0, frame, sizeof(frame));

	link_flush(t->w.link);
	return sent;
}

void guest_serves(struct guest *t)
{
	static const uint8_t hdr[GUEST_VNET] = { 0 };
	unsigned frames = t->frames, warnings = t->warnings;

	guest_up(t, GUEST_MERGE | GUEST_INDIRECT, GUEST_SIZE);
	guest_buffers(t, 4, GUEST_BUF);
	guest_send(t, hdr, GUEST_FRAME);
	assert_int_equal(t->frames, frames + 1);
	assert_true(guest_frame(t));
	assert_int_equal(guest_receive(t, GUEST_BUF), GUEST_VNET + GUEST_FRAME);
	assert_int_equal(t->frame[GUEST_VNET + 2], 3);
	assert_true(t->w.link->up);
	assert_int_equal(t->warnings, warnings);
}

void guest_again(struct guest *t)
{
	close(t->f.sock);
	guest_turns(t);
	assert_false(t->w.link->up);
	t->f.sock = front_connect(&t->f);
}

void guest_to(struct guest *t, enum guest_phase phase)
{
	uint32_t off[2] = { 0, 0 };

	if (phase == GUEST_AGREED || phase == GUEST_MEMORY)
		front_negotiate(&t->f, GUEST_BASIC | GUEST_MERGE, 0);
	if (phase == GUEST_MEMORY)
		assert_int_equal(front_memory(&t->f), 0);
	if (phase >= GUEST_RUNS)
		guest_up(t, GUEST_MERGE, GUEST_SIZE);
	for (; phase >= GUEST_DISABLED && off[0] < 2; off[0]++)
		assert_int_equal(front_ask(&t->f, 18, FRONT_NEED_REPLY, off, 8), 0);
	for (unsigned i = 0; phase == GUEST_STOPPED && i < 2; i++)
		front_ring_stop(&t->f, i);
	if (phase == GUEST_RESET)
		assert_int_equal(front_ask(&t->f, 34, FRONT_NEED_REPLY, NULL, 0), 0);
}
