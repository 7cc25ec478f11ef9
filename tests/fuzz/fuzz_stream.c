/* SPDX-License-Identifier: MIT */
/*
 * A VMM that writes whatever it likes in pieces of any size: the first byte of a piece says how long it is. The frames that come out must
 * be those that a reading of the whole input at once finds; each is sent back, so that the other direction is at work as well.
 */
#include <assert.h>

#include "link/stream.h"
#include "link_target.h"

#define FLOOD 80

struct fuzz {
	struct link_target t;
	uint8_t *wire;
	size_t wire_len;
	size_t twin_at; /* what the twin has read of the wire */
};

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	struct fuzz *z = container_of(ctx, struct fuzz, t);

	for (unsigned i = 0; i < n; i++) {
		uint8_t got[65535];
		struct rd twin = rd_init(z->wire + z->twin_at, z->wire_len - z->twin_at);
		uint32_t want_len = rd_be32(&twin);
		const uint8_t *want = rd_bytes(&twin, want_len);

		assert(want && want_len == f[i].len && f[i].len >= 14 && f[i].len <= 65535);
		assert(iov_copy_out(f[i].iov, f[i].n, 0, got, sizeof(got)) == want_len);
		assert(!memcmp(got, want, want_len));
		z->twin_at += 4 + want_len;
		/* More than it takes at once. */
		link_target_flood(&z->t, f[i].len == 15 ? FLOOD : 0);
		link_target_echo(&z->t, &f[i]);
	}
}

static void feed(struct fuzz *z, const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);

	while (rd_left(&in) && !z->t.gone) {
		size_t piece = rd_u8(&in);
		uint8_t back[65536];
		const uint8_t *p;

		piece = piece < 128 ? piece : (piece - 127) * 64;
		piece = MIN(piece, rd_left(&in));
		p = rd_bytes(&in, piece);
		memcpy(z->wire + z->wire_len, p, piece);
		z->wire_len += piece;
		if (piece && send(z->t.peer, p, piece, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)piece)
			abort();
		link_target_turn(&z->t);
		if (piece % 3 == 0)
			(void)!recv(z->t.peer, back, sizeof(back), MSG_DONTWAIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz z = { .wire = malloc(len + 1) };
	struct stream_conf c = { .listen_fd = -1, .mtu = 65520, .cb = link_target_cb(&z.t, on_rx) };
	struct rd twin;
	uint32_t frame;
	bool bad;

	link_target_init(&z.t);
	c.fd = link_target_pair(&z.t, SOCK_STREAM);
	if (!z.wire || stream_new(&z.t.loop, &c, &z.t.link) || stream_start(z.t.link))
		abort();
	feed(&z, data, len);

	/* What is left over is less than one frame or, if that was the end, begins with a bad length. */
	twin = rd_init(z.wire + z.twin_at, z.wire_len - z.twin_at);
	frame = rd_be32(&twin);
	bad = rd_ok(&twin) && (frame < 14 || frame > 65535);
	assert(bad == z.t.gone);
	assert(bad || !rd_ok(&twin) || rd_left(&twin) < frame);
	/* The end of it, by one side or the other, with whatever is on its way. */
	if (len % 2)
		z.t.link->ops->reset(z.t.link);
	close(z.t.peer);
	z.t.peer = -1;
	link_target_turn(&z.t);
	link_target_turn(&z.t);
	assert(z.t.gone);
	link_target_fini(&z.t);
	free(z.wire);
	return 0;
}
