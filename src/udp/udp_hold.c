/* SPDX-License-Identifier: MIT */
#include "udp/udp_hold.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN sizeof(uint64_t)

/* Bytes that a datagram takes. */
static size_t room_of(size_t len)
{
	return (sizeof(struct udp_held) + len + ALIGN - 1) / ALIGN * ALIGN;
}

int udp_hold_init(struct udp_hold *h)
{
	void *p = mmap(NULL, UDP_HOLD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*h = (struct udp_hold){ .area = p };
	return 0;
}

void udp_hold_fini(struct udp_hold *h)
{
	if (h->area)
		munmap(h->area, UDP_HOLD_BYTES);
	h->area = NULL;
}

bool udp_hold_put(struct udp_hold *h, uint32_t index, uint32_t gen, const struct iovec *payload)
{
	struct udp_held d = { .index = index, .gen = gen, .len = (uint32_t)payload->iov_len };
	uint8_t *at = h->area + h->used;

	if (payload->iov_len > UDP_HOLD_BYTES || room_of(payload->iov_len) > UDP_HOLD_BYTES - h->used)
		return false;
	memcpy(at, &d, sizeof(d));
	if (d.len)
		memcpy(at + sizeof(d), payload->iov_base, d.len);
	h->used += room_of(d.len);
	return true;
}

void udp_hold_each(struct udp_hold *h, udp_hold_fn *take, void *ctx)
{
	size_t kept = 0;

	for (size_t at = 0, room; at < h->used; at += room) {
		struct iovec payload;
		struct udp_held d;

		memcpy(&d, h->area + at, sizeof(d));
		room = room_of(d.len);
		payload = (struct iovec){ .iov_base = h->area + at + sizeof(d), .iov_len = d.len };
		if (take(ctx, &d, &payload))
			continue;
		memmove(h->area + kept, h->area + at, room);
		kept += room;
	}
	h->used = kept;
}
