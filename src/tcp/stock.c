/* SPDX-License-Identifier: MIT */
#include "tcp/stock.h"

#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "fwd/out.h"
#include "os/sock.h"
#include "tcp/conn.h"

static int ready_open(struct tcp *t, bool v4, struct tcp_ready *ret_s)
{
	struct tcp_ready s;
	int err = sock_open(v4 ? AF_INET : AF_INET6, SOCK_STREAM, IPPROTO_TCP, &s.fd);

	if (err)
		return err;
	err = conn_sock_setup(t, s.fd, v4, &s.peek_off);
	if (err) {
		sock_close(s.fd);
		return err;
	}
	*ret_s = s;
	return 0;
}

static void stock_fill(struct tcp *t, unsigned i)
{
	struct tcp_stock *st = &t->stock;
	int err = 0;

	while (st->used[i] && st->n[i] < st->max && !err) {
		err = ready_open(t, !i, &st->s[i][st->n[i]]);
		st->n[i] += !err;
	}
	if (err)
		log_limited(LOG_LVL_DEBUG, "TCP: no sockets in stock: %s", strerror(-err));
	st->used[i] = false;
}

static void stock_empty(struct tcp_stock *st)
{
	for (unsigned i = 0; i < 2; i++) {
		while (st->n[i])
			sock_close(st->s[i][--st->n[i]].fd);
	}
}

static void stock_timer(struct timer *timer, uint64_t now_ns)
{
	struct tcp *t = container_of(timer, struct tcp, stock.timer);
	struct tcp_stock *st = &t->stock;

	if (!st->soon) {
		stock_empty(st);
		return;
	}
	st->soon = false;
	for (unsigned i = 0; i < 2; i++)
		stock_fill(t, i);
	timer_set(&t->d.loop->timers, timer, now_ns + TCP_STOCK_KEEP_NS);
}

void tcp_stock_init(struct tcp *t, uint32_t max)
{
	t->stock.max = MIN(max, TCP_STOCK_MAX);
	timer_init(&t->stock.timer, stock_timer);
}

void tcp_stock_fini(struct tcp *t)
{
	timer_cancel(&t->d.loop->timers, &t->stock.timer);
	stock_empty(&t->stock);
}

static int stock_get(struct tcp *t, bool v4, struct tcp_ready *ret_s)
{
	struct tcp_stock *st = &t->stock;

	if (!st->max)
		return ready_open(t, v4, ret_s);
	if (!st->soon)
		timer_set(&t->d.loop->timers, &st->timer, t->d.loop->now_ns + TCP_STOCK_FILL_NS);
	st->soon = true;
	st->used[!v4] = true;
	if (!st->n[!v4])
		return ready_open(t, v4, ret_s);
	*ret_s = st->s[!v4][--st->n[!v4]];
	return 0;
}

int tcp_stock_take(struct tcp *t, const struct addr *dst, struct tcp_ready *ret_s)
{
	struct tcp_ready s;
	int err = stock_get(t, addr_is4(dst), &s);

	if (err)
		return err;
	err = out_bind(t->d.out, s.fd, SOCK_STREAM, dst, 0);
	if (err) {
		sock_close(s.fd);
		return err;
	}
	*ret_s = s;
	return 0;
}
