/* SPDX-License-Identifier: MIT */
/* What may happen to a fake stream socket that waits for its connection, or has one. */
#pragma once

#include <errno.h>

#include "fake_stream.h"

/* True: it was one of those. False: data are to come, what they are is the target's business. */
static inline bool stream_event(struct fake_stream *s, uint8_t what, uint16_t n)
{
	if (what % 8 == 0)
		fake_stream_fin(s);
	else if (what % 8 == 1)
		fake_stream_rst(s);
	else if (what % 8 == 2)
		fake_stream_die(s, ETIMEDOUT);
	else if (what % 8 == 3)
		s->fill = n * 2u;
	else if (what % 8 == 4)
		fake_stream_ack(s, n * 16u);
	else
		return false;
	return true;
}
