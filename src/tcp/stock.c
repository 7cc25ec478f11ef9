/* SPDX-License-Identifier: MIT */
#include "tcp/stock.h"

#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
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

static void stock_fill(struct timer *timer, uint64_t now_ns)
{
	struct tcp *t = container_of(timer, struct tcp, stock.timer);
	struct tcp_stock *st = &t->stock;

	for (unsigned i = 0; i < 2; i++) {
		int err = 0;

		while (st->used[i] && st->n[i] < st->max && !err) {
			err = ready_open(t, !i, &st->s[i][st->n[i]]);
			st->n[i] += !err;
		}
		if (err)
			log_debug("TCP: no sockets in stock: %s", strerror(-err));
		st->used[i] = false;
	}
}

void tcp_stock_init(struct tcp *t, uint32_t max)
{
	t->stock.max = MIN(max, TCP_STOCK_MAX);
	timer_init(&t->stock.timer, stock_fill);
}

void tcp_stock_fini(struct tcp *t)
{
	timer_cancel(&t->d.loop->timers, &t->stock.timer);
	for (unsigned i = 0; i < 2; i++) {
		while (t->stock.n[i])
			sock_close(t->stock.s[i][--t->stock.n[i]].fd);
	}
}

int tcp_stock_take(struct tcp *t, bool v4, struct tcp_ready *ret_s)
{
	struct tcp_stock *st = &t->stock;

	if (!st->max)
		return ready_open(t, v4, ret_s);
	st->used[!v4] = true;
	if (!timer_armed(&st->timer))
		timer_set(&t->d.loop->timers, &st->timer, t->d.loop->now_ns + TCP_STOCK_FILL_NS);
	if (!st->n[!v4])
		return ready_open(t, v4, ret_s);
	*ret_s = st->s[!v4][--st->n[!v4]];
	return 0;
}
