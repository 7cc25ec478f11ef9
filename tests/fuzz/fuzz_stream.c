/* SPDX-License-Identifier: MIT */
/*
 * A VMM that writes whatever it likes in pieces of any size: the first byte of a piece says how long it is. The frames that come out must
 * be those that a reading of the whole input at once finds; each is sent back, so that the other direction is at work as well.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/rd.h"
#include "link/stream.h"

#define ECHO_LEN 200
#define FLOOD 80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
	struct loop loop;
	struct timer nowait;
	struct link *link;
	int peer;
	uint8_t *wire;
	size_t wire_len;
	size_t twin_at; /* what the twin has read of the wire */
	bool gone;
};

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	static const uint8_t flood[60000];
	struct fuzz *z = ctx;

	for (unsigned i = 0; i < n; i++) {
		uint8_t got[65535], echo[ECHO_LEN];
		struct rd twin = rd_init(z->wire + z->twin_at, z->wire_len - z->twin_at);
		uint32_t want_len = rd_be32(&twin);
		const uint8_t *want = rd_bytes(&twin, want_len);

		assert(want && want_len == f[i].len && f[i].len >= 14 && f[i].len <= 65535);
		assert(iov_copy_out(f[i].iov, f[i].n, 0, got, sizeof(got)) == want_len);
		assert(!memcmp(got, want, want_len));
		z->twin_at += 4 + want_len;
		/* More than it takes at once. */
		for (unsigned k = 0; k < FLOOD && f[i].len == 15; k++)
			(void)!link_send(z->link, 0, flood, sizeof(flood));
		(void)!link_send(z->link, 0, echo, iov_copy_out(f[i].iov, f[i].n, 0, echo, sizeof(echo)));
	}
}

static void on_change(void *ctx)
{
}

static void on_gone(void *ctx)
{
	((struct fuzz *)ctx)->gone = true;
}

static void nothing(struct timer *t, uint64_t now_ns)
{
}

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void turn(struct fuzz *z)
{
	timer_set(&z->loop.timers, &z->nowait, 0);
	if (loop_turn(&z->loop))
		abort();
	link_flush(z->link);
}

static void feed(struct fuzz *z, const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);

	while (rd_left(&in) && !z->gone) {
		size_t piece = rd_u8(&in);
		uint8_t back[65536];
		const uint8_t *p;

		piece = piece < 128 ? piece : (piece - 127) * 64;
		piece = MIN(piece, rd_left(&in));
		p = rd_bytes(&in, piece);
		memcpy(z->wire + z->wire_len, p, piece);
		z->wire_len += piece;
		if (piece && send(z->peer, p, piece, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)piece)
			abort();
		turn(z);
		if (piece % 3 == 0)
			(void)!recv(z->peer, back, sizeof(back), MSG_DONTWAIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz z = { .wire = malloc(len + 1) };
	struct stream_conf c = {
		.listen_fd = -1,
		.mtu = 65520,
		.cb = { .rx = on_rx, .tx_ready = on_change, .up = on_change, .down = on_change, .gone = on_gone, .ctx = &z },
	};
	struct rd twin;
	uint32_t frame;
	bool bad;
	int fd[2];

	log_set_sink(sink, NULL);
	timer_init(&z.nowait, nothing);
	if (!z.wire || loop_init(&z.loop) || socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		abort();
	c.fd = fd[0];
	z.peer = fd[1];
	if (stream_new(&z.loop, &c, &z.link) || stream_start(z.link))
		abort();
	feed(&z, data, len);

	/* What is left over is less than one frame or, if that was the end, begins with a bad length. */
	twin = rd_init(z.wire + z.twin_at, z.wire_len - z.twin_at);
	frame = rd_be32(&twin);
	bad = rd_ok(&twin) && (frame < 14 || frame > 65535);
	assert(bad == z.gone);
	assert(bad || !rd_ok(&twin) || rd_left(&twin) < frame);
	/* The end of it, by one side or the other, with whatever is on its way. */
	if (len % 2)
		z.link->ops->reset(z.link);
	close(z.peer);
	turn(&z);
	turn(&z);
	assert(z.gone);
	z.link->ops->free(z.link);
	loop_fini(&z.loop);
	free(z.wire);
	return 0;
}
