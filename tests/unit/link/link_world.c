/* SPDX-License-Identifier: MIT */
#include "link_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "link/vhost.h"

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	struct link_world *w = ctx;

	assert_in_range(n, 1, LINK_BATCH);
	w->rx_calls++;
	w->rx_max = MAX(w->rx_max, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(iov_len(f[i].iov, f[i].n), f[i].len);
		w->on_frame(w, &f[i]);
	}
}

static void on_ready(void *ctx)
{
	((struct link_world *)ctx)->ready++;
}

static void on_up(void *ctx)
{
	((struct link_world *)ctx)->up++;
}

static void on_down(void *ctx)
{
	((struct link_world *)ctx)->down++;
}

static void on_gone(void *ctx)
{
	((struct link_world *)ctx)->gone++;
}

static void nothing(struct timer *t, uint64_t now_ns)
{
}

int link_world_init(struct link_world *w, void (*on_frame)(struct link_world *w, const struct frame *f))
{
	*w = (struct link_world){ .peer = -1, .on_frame = on_frame };
	timer_init(&w->nowait, nothing);
	return loop_init(&w->loop);
}

socklen_t link_world_vhost(struct link_world *w, bool one_off, struct sockaddr_un *ret_sa)
{
	struct vhost_conf c = { .fd = -1, .one_off = one_off, .mtu = 65520, .cb = link_world_cb(w) };
	socklen_t len = sizeof(*ret_sa);

	*ret_sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	c.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(c.listen_fd, (struct sockaddr *)ret_sa, sizeof(sa_family_t)), 0); /* any free name */
	assert_int_equal(listen(c.listen_fd, 1), 0);
	assert_int_equal(getsockname(c.listen_fd, (struct sockaddr *)ret_sa, &len), 0);
	assert_int_equal(vhost_new(&w->loop, &c, &w->link), 0);
	assert_int_equal(vhost_start(w->link), 0);
	return len;
}

void link_world_fini(struct link_world *w)
{
	if (w->link)
		w->link->ops->free(w->link);
	if (w->peer >= 0)
		close(w->peer);
	timer_cancel(&w->loop.timers, &w->nowait);
	loop_fini(&w->loop);
}

struct link_cb link_world_cb(struct link_world *w)
{
	return (struct link_cb){ .rx = on_rx, .tx_ready = on_ready, .up = on_up, .down = on_down, .gone = on_gone, .ctx = w };
}

void link_world_turn(struct link_world *w)
{
	timer_set(&w->loop.timers, &w->nowait, 0);
	assert_int_equal(loop_turn(&w->loop), 0);
	link_flush(w->link);
}
