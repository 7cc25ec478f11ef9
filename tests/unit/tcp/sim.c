/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEPS_MAX 200000 /* at one moment */

/* A segment on its way. */
struct flying {
	struct list node;
	uint64_t due;
	struct gseg up;
	struct seen down;
	uint8_t *data;
};

struct mark {
	struct list node;
	uint64_t due, upto;
};

static uint32_t sim_rnd(struct sim *s)
{
	s->rnd ^= s->rnd << 13;
	s->rnd ^= s->rnd >> 17;
	s->rnd ^= s->rnd << 5;
	return s->rnd;
}

static bool sim_chance(struct sim *s, unsigned thousandth)
{
	return thousandth && sim_rnd(s) % 1000 < thousandth;
}

static void fly(struct list *l, const struct flying *tmpl, uint64_t due, const void *data, size_t len)
{
	struct flying *f = malloc(sizeof(*f));
	struct list *at;

	assert_non_null(f);
	*f = *tmpl;
	f->due = due;
	f->data = malloc(len + 1);
	assert_non_null(f->data);
	if (len)
		memcpy(f->data, data, len);
	for (at = l->prev; at != l; at = at->prev) {
		if (container_of(at, struct flying, node)->due <= due)
			break;
	}
	f->node.prev = at;
	f->node.next = at->next;
	at->next->prev = &f->node;
	at->next = &f->node;
}

static void sim_fly(struct sim *s, bool up, const struct flying *f, const void *data, size_t len)
{
	const struct path *p = up ? &s->c.up : &s->c.down;
	struct list *l = up ? &s->up : &s->down;
	uint64_t due = fake_os.now_ns + p->delay_ns;

	if (sim_chance(s, p->loss)) {
		s->lost++;
		return;
	}
	if (sim_chance(s, p->reorder))
		due += (1 + sim_rnd(s) % 3) * NSEC_PER_MSEC;
	fly(l, f, due, data, len);
	if (sim_chance(s, p->dup))
		fly(l, f, due + sim_rnd(s) % 2 * NSEC_PER_MSEC, data, len);
}

static void flying_free(struct flying *f)
{
	list_del(&f->node);
	free(f->data);
	free(f);
}

static struct flying *flying_due(struct list *l)
{
	struct flying *f = container_of(l->next, struct flying, node);

	return !list_empty(l) && f->due <= fake_os.now_ns ? f : NULL;
}

static void sim_from_peer(void *ctx, const struct gseg *g)
{
	struct flying f = { .up = *g };

	sim_fly(ctx, true, &f, g->data, g->len);
}

/* --- steps: each returns whether something happened --- */

/* The window that we tell must not move back by more than its own unit (RFC 9293 3.8.6). */
static void sim_check_edge(struct sim *s, const struct seen *seen)
{
	uint8_t scale = seen->h.flags & TCP_SYN ? 0 : s->p.scale;
	uint32_t edge = seen->h.ack + ((uint32_t)seen->h.window << scale);

	if (!(seen->h.flags & TCP_ACK) || seen->h.flags & TCP_RST)
		return;
	if (s->told)
		assert_true(seq_ge(edge + (1u << scale), s->edge));
	if (!s->told || seq_gt(edge, s->edge))
		s->edge = edge;
	s->told = true;
}

static bool step_translator(struct sim *s)
{
	struct seen seen;
	bool did = false;

	world_turn(&s->w);
	s->events += fake_os.dispatched;
	while (world_take(&s->w, &seen)) {
		struct flying f = { .down = seen };

		assert_int_equal(seen.proto, 6);
		sim_check_edge(s, &seen);
		sim_fly(s, false, &f, seen.data, seen.len);
		did = true;
	}
	world_clear(&s->w);
	return did || fake_os.dispatched || !timers_next(&s->w.loop.timers, fake_os.now_ns);
}

static bool step_down(struct sim *s)
{
	struct flying *f = flying_due(&s->down);

	if (!f)
		return false;
	f->down.data = f->data;
	peer_in(&s->p, &f->down, fake_os.now_ns);
	flying_free(f);
	return true;
}

static bool step_up(struct sim *s)
{
	struct gseg g[LINK_BATCH];
	struct flying *f[LINK_BATCH];
	unsigned n = 0;

	while (n < LINK_BATCH && (f[n] = flying_due(&s->up))) {
		list_del(&f[n]->node);
		g[n] = f[n]->up;
		g[n].data = f[n]->data;
		if (s->w.s && !world_conn(&s->w) && g[n].h.flags == TCP_SYN)
			flying_free(f[n]); /* a late duplicate of the first one: it is not to begin another connection */
		else
			n++;
	}
	if (!n)
		return false;
	world_put(&s->w, g, n);
	for (unsigned i = 0; i < n; i++)
		flying_free(f[i]);
	return true;
}

static bool step_peer(struct sim *s)
{
	if (peer_next(&s->p) > fake_os.now_ns)
		return false;
	peer_tick(&s->p, fake_os.now_ns);
	return true;
}

static bool stalled(const struct sim *s)
{
	return s->c.stall_ns && fake_os.now_ns < s->stall_end && s->w.s->out_len >= s->c.stall_at;
}

/* The remote acknowledges. */
static bool step_remote_ack(struct sim *s)
{
	struct fake_stream *fs = s->w.s;
	struct mark *m;

	fs->rtt = fs->rtt_min = (uint32_t)(s->c.ack_delay_ns / NSEC_PER_USEC);
	if (fs->out_len > s->marked) {
		m = calloc(1, sizeof(*m));
		assert_non_null(m);
		m->due = fake_os.now_ns + s->c.ack_delay_ns;
		m->upto = s->marked = fs->out_len;
		list_push(&s->marks, &m->node);
	}
	m = container_of(s->marks.next, struct mark, node);
	if (list_empty(&s->marks) || m->due > fake_os.now_ns || stalled(s))
		return false;
	fake_stream_ack(fs, m->upto - fs->acked);
	list_del(&m->node);
	free(m);
	return true;
}

/* The remote sends and closes. */
static bool step_remote_send(struct sim *s)
{
	struct fake_stream *fs = s->w.s;
	uint32_t rcvbuf = s->c.rcvbuf ? s->c.rcvbuf : 131072;
	uint64_t n = MIN((uint64_t)(s->c.push ? s->c.push : rcvbuf), s->c.total - fs->in_total);

	if (fs->state != FAKE_S_OPEN || fs->fd < 0)
		return false;
	if (s->push_at > fake_os.now_ns)
		return false;
	if (n) {
		n = rcvbuf > fs->in_len ? MIN(n, rcvbuf - fs->in_len) : 0;
		if (!n)
			return false;
		host_push(fs, n);
		s->push_at = fake_os.now_ns + s->c.push_gap_ns;
		return true;
	}
	if (!s->c.close || fs->fin_in)
		return false;
	fake_stream_fin(fs);
	return true;
}

/* The guest's application writes. */
static bool step_write(struct sim *s)
{
	struct guest_peer *p = &s->p;

	if (p->c.total >= s->c.g.total || s->write_at > fake_os.now_ns)
		return false;
	p->c.total = MIN(p->c.total + s->c.write, s->c.g.total);
	p->c.close = s->c.g.close && p->c.total == s->c.g.total;
	s->write_at = fake_os.now_ns + s->c.write_gap_ns;
	peer_push(p, fake_os.now_ns);
	return true;
}

static bool step_link(struct sim *s)
{
	if (!s->c.link_room || s->w.fl.room)
		return false;
	if (!s->link_at)
		s->link_at = fake_os.now_ns + s->c.link_gap_ns;
	if (s->link_at > fake_os.now_ns)
		return false;
	s->link_at = 0;
	world_link_ready(&s->w, s->c.link_room);
	return true;
}

static bool sim_step(struct sim *s)
{
	bool did = step_translator(s);

	did |= step_link(s);
	did |= step_down(s);
	did |= step_up(s);
	did |= step_peer(s);
	did |= step_remote_ack(s);
	did |= step_remote_send(s);
	did |= step_write(s);
	return did;
}

static uint64_t sim_next(struct sim *s)
{
	uint64_t next = peer_next(&s->p), timer = timers_next(&s->w.loop.timers, fake_os.now_ns);

	if (timer != UINT64_MAX)
		next = MIN(next, fake_os.now_ns + timer);
	if (!list_empty(&s->up))
		next = MIN(next, container_of(s->up.next, struct flying, node)->due);
	if (!list_empty(&s->down))
		next = MIN(next, container_of(s->down.next, struct flying, node)->due);
	if (!list_empty(&s->marks))
		next = MIN(next, MAX(container_of(s->marks.next, struct mark, node)->due, stalled(s) ? s->stall_end : 0));
	if (s->push_at > fake_os.now_ns)
		next = MIN(next, s->push_at);
	if (s->link_at)
		next = MIN(next, s->link_at);
	if (s->p.c.total < s->c.g.total)
		next = MIN(next, s->write_at);
	return next;
}

bool sim_run(struct sim *s, uint64_t max_ns)
{
	uint64_t end = fake_os.now_ns + max_ns;

	for (;;) {
		unsigned steps = 0;
		uint64_t next;

		while (sim_step(s)) {
			if (++steps > STEPS_MAX)
				fail_msg("it spins");
		}
		if (!world_conn(&s->w) && list_empty(&s->up) && list_empty(&s->down))
			return true;
		next = sim_next(s);
		if (next > end) {
			fake_os.now_ns = end;
			return false;
		}
		fake_os.now_ns = MAX(next, fake_os.now_ns);
	}
}

void sim_init(struct sim *s, const struct sim_conf *c)
{
	memset(s, 0, sizeof(*s));
	s->c = *c;
	s->rnd = c->seed * 2654435761u + 1;
	list_init(&s->up);
	list_init(&s->down);
	list_init(&s->marks);
	world_init(&s->w, &c->w);
	if (c->link_room)
		fake_link_room(&s->w.fl, c->link_room);
	peer_init(&s->p, &c->g);
	if (c->write && c->g.total) {
		s->p.c.total = 0;
		s->p.c.close = false;
	}
	s->p.out = sim_from_peer;
	s->p.ctx = s;
	s->w.iss = c->g.iss;
	s->start_ns = fake_os.now_ns;
	s->stall_end = fake_os.now_ns + c->stall_ns;
	if (c->in) {
		s->w.g.port = 80;
		s->w.s = fake_stream_arrive(s->w.listener.fd, &s->w.r);
	} else {
		peer_connect(&s->p, fake_os.now_ns);
		while (!s->w.s) {
			(void)step_up(s);
			(void)step_peer(s);
			if (world_conn(&s->w))
				s->w.s = fake_stream_last();
			else
				fake_os.now_ns = MIN(peer_next(&s->p), fake_os.now_ns + NSEC_PER_MSEC);
		}
		s->w.s->rtt = s->w.s->rtt_min = (uint32_t)(c->ack_delay_ns / NSEC_PER_USEC);
		world_wait(&s->w, c->ack_delay_ns);
		fake_stream_connected(s->w.s);
	}
	s->w.checked = true;
	if (c->sndbuf)
		s->w.s->size = c->sndbuf;
	s->w.s->overhead = c->overhead;
	if (c->chunk)
		s->w.s->chunk = c->chunk;
}

static void sim_explain(struct sim *s)
{
	const struct tcp_conn *k = world_conn(&s->w);
	const struct guest_peer *p = &s->p;

	print_error(
		"%s after %llu ms: guest sent %u of %llu, got %llu of %llu, wnd %u, state %d, fin in %d, acked %d, rst %d, rexmits %u, "
		"probes %u\n",
		k ? "open" : "gone", (unsigned long long)((fake_os.now_ns - s->start_ns) / NSEC_PER_MSEC), p->nxt - p->c.iss - 1,
		(unsigned long long)p->c.total, (unsigned long long)p->got, (unsigned long long)s->c.total, p->wnd, p->state,
		p->fin_in, p->fin_acked, p->rst_in, p->rexmits, p->probes);
	print_error("host: out %zu, acked %zu, in %zu (%zu queued), fin in %d out %d, rst out %d\n", s->w.s->out_len, s->w.s->acked,
		    s->w.s->in_total, s->w.s->in_len, s->w.s->fin_in, s->w.s->fin_out, s->w.s->rst_out);
	if (!k)
		return;
	print_error(
		"state %u, spill %u, out_armed %d, in_off %d, drained %d, una %u nxt %u max %u wnd %u, host_shut %d eof %d fin_acked %d\n",
		k->state, k->spill.len, k->out_armed, k->in_off, k->drained, k->snd.una - k->snd.iss, k->snd.nxt - k->snd.iss,
		k->snd.max - k->snd.iss, k->snd.wnd, k->host_shut, k->host_eof, k->fin_acked);
}

void sim_finish(struct sim *s, uint64_t max_ns)
{
	const struct fake_stream *fs = s->w.s;
	bool lossy = s->c.up.loss || s->c.down.loss;
	bool ok = sim_run(s, max_ns);

	if (!ok || host_check(fs) != s->p.c.total || s->p.got != s->c.total || !s->p.fin_in || fs->rst_out || !fs->fin_out ||
	    (!lossy && s->p.rst_in))
		sim_explain(s);
	assert_true(ok);
	assert_int_equal(fs->out_len, s->p.c.total);
	assert_int_equal(s->p.got, s->c.total);
	assert_true(s->p.fin_in);
	/* Over a lossy path the acknowledgement of its FIN may be lost, and no connection is left that would answer it once more. */
	if (!lossy)
		assert_true(s->p.fin_acked && !s->p.rst_in);
	assert_true(fs->fin_out);
	assert_false(fs->rst_out);
}

void sim_fini(struct sim *s)
{
	while (!list_empty(&s->up))
		flying_free(container_of(s->up.next, struct flying, node));
	while (!list_empty(&s->down))
		flying_free(container_of(s->down.next, struct flying, node));
	while (!list_empty(&s->marks)) {
		struct mark *m = container_of(s->marks.next, struct mark, node);

		list_del(&m->node);
		free(m);
	}
	world_fini(&s->w);
}

void sim_transfer(const struct sim_conf *c, uint64_t max_ns)
{
	struct sim s;

	sim_init(&s, c);
	sim_finish(&s, max_ns);
	sim_fini(&s);
}

void sim_lossless(const struct sim_conf *c, uint64_t max_ns)
{
	struct sim s;

	sim_init(&s, c);
	sim_finish(&s, max_ns);
	if (s.p.rexmits || s.p.probes)
		sim_explain(&s);
	assert_int_equal(s.p.rexmits, 0);
	assert_int_equal(s.p.probes, 0);
	if (!c->in && c->ack_delay_ns >= TCP_REFLECT_RTT_US * NSEC_PER_USEC)
		assert_int_equal(s.p.tlps, 0);
	sim_fini(&s);
}
