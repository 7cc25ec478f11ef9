/* SPDX-License-Identifier: MIT */
#include "tcp/spill.h"

#include "base/iov.h"

/* Room behind the last byte; takes a new chunk if there is none. 0 if the pool is exhausted. */
static uint32_t spill_room(struct chunk_pool *p, struct spill *s, uint8_t **ret_at)
{
	uint32_t end = (s->off + s->len) % CHUNK_SIZE, c;

	if (!s->tail || (!end && s->len)) {
		c = chunk_get(p);
		if (!c)
			return 0;
		if (s->tail)
			chunk_set_next(p, s->tail, c);
		else
			s->head = c;
		s->tail = c;
	}
	*ret_at = (uint8_t *)chunk_mem(p, s->tail) + end;
	return CHUNK_SIZE - end;
}

size_t spill_put(struct chunk_pool *p, struct spill *s, const struct iovec *iov, unsigned n, size_t skip, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint8_t *at;
		size_t room = spill_room(p, s, &at);

		if (!room)
			break;
		room = iov_copy_out(iov, n, skip + done, at, MIN(room, len - done));
		if (!room)
			break;
		s->len += (uint32_t)room;
		done += room;
	}
	return done;
}

unsigned spill_peek(const struct chunk_pool *p, const struct spill *s, struct iovec *iov, unsigned max)
{
	uint32_t left = s->len, off = s->off, c = s->head;
	unsigned n = 0;

	for (; left && n < max; n++) {
		uint32_t part = MIN(left, CHUNK_SIZE - off);

		iov[n] = (struct iovec){ .iov_base = (uint8_t *)chunk_mem(p, c) + off, .iov_len = part };
		left -= part;
		off = 0;
		c = chunk_next(p, c);
	}
	return n;
}

void spill_drop(struct chunk_pool *p, struct spill *s, size_t len)
{
	uint32_t left = (uint32_t)MIN(len, (size_t)s->len);

	s->len -= left;
	while (left || (s->head && !s->len)) {
		uint32_t part = MIN(left, CHUNK_SIZE - s->off), c = s->head;

		left -= part;
		s->off += part;
		if (s->off < CHUNK_SIZE && s->len)
			break;
		s->head = chunk_next(p, c);
		s->off = 0;
		if (!s->head)
			s->tail = 0;
		chunk_put(p, c);
	}
}
