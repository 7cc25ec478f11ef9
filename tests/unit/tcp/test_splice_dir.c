/* SPDX-License-Identifier: MIT */
/*
 * One direction of a splice against a model of two sockets and a pipe, in every order of what both peers and we can do.
 *
 *   peer -- q --> splice_dir, pipe p --> o -- peer
 *
 * Units instead of bytes, small queues, edge-triggered events. The search visits every state that can be reached, and checks that no
 * byte is lost, that the end is the last thing that is passed on, that we never go round without an event, and that we are done when
 * both peers have done all that they will do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tcp/splice_dir.h"

#define Q_MAX 3 /* of the input's queue */
#define P_MAX 2 /* of the pipe */
#define O_MAX 2 /* of the output's queue */
#define SET_MAX (1u << 22)
#define STEPS_MAX 40 /* of ours, without anything happening around us */
#define NO_MARK 15

struct model {
	uint8_t r; /* units that the peer has not sent yet */
	uint8_t q, p, o;
	uint8_t mark; /* stream position of the urgent unit, or NO_MARK: there is none, or it was passed on */
	uint8_t fin : 1, rst : 1; /* the peer has ended, or reset; never both */
	uint8_t out_rst : 1;
	uint8_t has_pipe : 1, running : 1;
	uint8_t ev_in : 1, ev_out : 1, nospace : 1;
	struct splice_dir d;
};

struct search {
	uint8_t total; /* units of the stream */
	bool pipes, no_pipes; /* whether a pipe is to be had: always, never, or both */
	bool resets;
	uint64_t *set;
	size_t n;
	struct model *todo;
	size_t n_todo;
	unsigned acts[SPLICE_DONE + 1]; /* how often each was seen */
	unsigned done, broken, oob;
};

static uint64_t key_of(const struct model *m)
{
	uint64_t k = 1; /* never 0 */

	for (const uint8_t *v = (const uint8_t[]){ m->r, m->q, m->p, m->o, m->mark, 255 }; *v != 255; v++)
		k = k << 4 | *v;
	k = k << 8 | m->fin << 7 | m->rst << 6 | m->out_rst << 5 | m->has_pipe << 4 | m->running << 3 | m->ev_in << 2 |
	    m->ev_out << 1 | m->nospace;
	k = k << 4 | m->d.piped;
	k = k << 10 | m->d.fin << 9 | m->d.in_ready << 8 | m->d.out_ready << 7 | m->d.urgent << 6 | m->d.full << 5 |
	    m->d.copy << 4 | m->d.eof << 3 | m->d.shut << 2 | m->d.in_broken << 1 | m->d.out_broken;
	return k;
}

/* Adds a state, if it is new. */
static void reach(struct search *s, const struct model *m)
{
	uint64_t k = key_of(m);
	size_t at = (size_t)(k * UINT64_C(0x9e3779b97f4a7c15) >> 42);

	while (s->set && s->set[at]) {
		if (s->set[at] == k)
			return;
		at = (at + 1) % SET_MAX;
	}
	if (s->set)
		s->set[at] = k;
	assert_true(++s->n < SET_MAX / 2);
	s->todo[s->n_todo++] = *m;
}

/* Position in the stream of what is next in the input's queue. */
static unsigned pos(const struct search *s, const struct model *m)
{
	return s->total - m->r - m->q;
}

static bool urgent_waits(const struct search *s, const struct model *m)
{
	return m->mark != NO_MARK && m->mark >= pos(s, m) && m->mark < s->total - m->r;
}

/* Units that one call can take: it stops before the urgent one. */
static unsigned takeable(const struct search *s, const struct model *m)
{
	return urgent_waits(s, m) ? MIN(m->q, m->mark - pos(s, m)) : m->q;
}

/* What the input's kernel says when it has nothing to give. */
static ssize_t in_end(const struct model *m)
{
	if (m->q)
		return -EAGAIN;
	return m->rst ? -ECONNRESET : m->fin ? 0 : -EAGAIN;
}

static void took(struct model *m, unsigned n)
{
	assert_true(n <= m->q);
	m->q -= (uint8_t)n;
}

/* The output accepts up to n units; what it says. */
static ssize_t out_send(struct model *m, unsigned n)
{
	if (m->out_rst)
		return -EPIPE;
	n = MIN(n, (unsigned)(O_MAX - m->o));
	if (!n) {
		m->nospace = true;
		return -EAGAIN;
	}
	m->o += (uint8_t)n;
	return n;
}

static void step_fill(struct search *s, const struct model *from)
{
	unsigned most = MIN(takeable(s, from), (unsigned)(P_MAX - from->p));
	struct model m;

	if (!from->has_pipe && s->no_pipes) {
		m = *from;
		assert_int_equal(m.d.piped, 0);
		m.d.copy = true;
		reach(s, &m);
		if (!s->pipes)
			return;
	}
	/* It may take less than there is. */
	for (unsigned n = 1; n <= most; n++) {
		m = *from;
		m.has_pipe = true;
		took(&m, n);
		m.p += (uint8_t)n;
		splice_dir_filled(&m.d, n);
		reach(s, &m);
	}
	if (most)
		return;
	m = *from;
	m.has_pipe = true;
	if (m.p == P_MAX)
		splice_dir_filled(&m.d, -EAGAIN);
	else if (m.q && m.fin && !splice_dir_end_sure(&m.d))
		splice_dir_at_mark(&m.d); /* the kernel's 0, and we looked what it means */
	else if (m.q && m.fin)
		splice_dir_filled(&m.d, 0); /* a loss, which a later check would see */
	else
		splice_dir_filled(&m.d, in_end(&m));
	reach(s, &m);
}

static void step_drain(struct search *s, const struct model *from)
{
	assert_true(from->p && from->p == from->d.piped);
	for (unsigned n = 1; n <= from->p; n++) {
		struct model m = *from;
		ssize_t r = out_send(&m, n);

		if (r > 0)
			m.p -= (uint8_t)r;
		splice_dir_drained(&m.d, r);
		reach(s, &m);
	}
}

static void step_copy(struct search *s, const struct model *from)
{
	struct model m = *from;
	ssize_t r = m.q;

	assert_int_equal(m.p, 0);
	if (!r) {
		splice_dir_filled(&m.d, in_end(&m));
	} else {
		r = out_send(&m, MAX(takeable(s, &m), 1u));
		if (r > 0)
			took(&m, (unsigned)r);
		else
			splice_dir_drained(&m.d, r);
	}
	reach(s, &m);
}

static void step_urgent(struct search *s, const struct model *from)
{
	struct model m = *from;
	ssize_t r;

	assert_int_equal(m.p, 0);
	if (!urgent_waits(s, &m) || takeable(s, &m)) {
		if (m.d.copy)
			step_copy(s, from);
		else
			step_fill(s, from);
		return;
	}
	r = out_send(&m, 1);
	if (r > 0) {
		took(&m, 1);
		m.mark = NO_MARK;
		m.d.urgent = false;
		s->oob++;
	} else {
		splice_dir_drained(&m.d, r);
	}
	reach(s, &m);
}

/* One step of ours. */
static void step(struct search *s, const struct model *from)
{
	enum splice_act act = splice_dir_next(&from->d);
	struct model m = *from;

	s->acts[act]++;
	switch (act) {
	case SPLICE_FILL:
		step_fill(s, from);
		return;
	case SPLICE_DRAIN:
		step_drain(s, from);
		return;
	case SPLICE_COPY:
		step_copy(s, from);
		return;
	case SPLICE_URGENT:
		step_urgent(s, from);
		return;
	case SPLICE_SHUT:
		/* All that was sent has been passed on. */
		assert_true(m.fin && !m.rst && !m.r && !m.q && !m.p);
		splice_dir_shut(&m.d, m.out_rst ? -ENOTCONN : 0);
		break;
	case SPLICE_WAIT:
	case SPLICE_DONE:
		m.running = false;
		if (!m.p)
			m.has_pipe = false;
		break;
	}
	reach(s, &m);
}

/* What can happen around us in this state, one thing at a time. */
static void around(struct search *s, const struct model *from)
{
	struct model m = *from;

	if (m.r && m.q < Q_MAX && !m.fin && !m.rst) {
		m.r--;
		m.q++;
		m.ev_in = true;
		reach(s, &m);
	}
	m = *from;
	if (!m.r && !m.fin && !m.rst) {
		m.fin = m.ev_in = true;
		reach(s, &m);
	}
	m = *from;
	if (s->resets && !m.fin && !m.rst) {
		m.rst = m.ev_in = true;
		reach(s, &m);
	}
	m = *from;
	if (m.o) {
		m.o--;
		if (m.nospace)
			m.ev_out = true;
		m.nospace = false;
		reach(s, &m);
	}
	m = *from;
	if (s->resets && !m.out_rst) {
		m.out_rst = m.ev_out = true;
		reach(s, &m);
	}
}

static void deliver(struct search *s, const struct model *from)
{
	struct model m = *from;
	uint32_t ev = 0;

	if (m.ev_in) {
		ev = (m.q || m.fin || m.rst ? EPOLLIN : 0) | (m.fin ? EPOLLRDHUP : 0) | (m.rst ? EPOLLERR | EPOLLHUP : 0);
		splice_dir_on_in(&m.d, ev | (urgent_waits(s, &m) ? EPOLLPRI : 0));
		m.ev_in = false;
	} else {
		splice_dir_on_out(&m.d, m.out_rst ? EPOLLERR | EPOLLHUP : EPOLLOUT);
		m.ev_out = false;
	}
	m.d.copy = false;
	m.running = true;
	reach(s, &m);
}

/* Nothing runs and no event is on its way: it has to be somebody else's turn. */
static void check_rest(struct search *s, const struct model *m)
{
	if (m->d.out_broken) {
		assert_true(m->out_rst);
		s->broken++;
	} else if (m->d.in_broken && !m->p) {
		assert_true(m->rst && !m->q);
		s->broken++;
	} else if (m->d.shut) {
		assert_int_equal(m->r + m->q + m->p, 0);
		s->done++;
	} else if (m->q || m->p || m->fin || m->rst) {
		/* Only the output can be what we wait for, and it will tell. */
		assert_true(m->nospace);
		assert_int_equal(m->o, O_MAX);
		assert_false(m->d.out_ready);
	}
}

/* From here to rest, with the smallest step that is possible each time: so many at most. */
static void check_ends(const struct search *s, const struct model *from)
{
	struct model todo[8], m = *from;

	for (unsigned i = 0; m.running; i++) {
		struct search one = { .total = s->total, .pipes = s->pipes, .no_pipes = s->no_pipes, .todo = todo };

		assert_true(i < STEPS_MAX);
		step(&one, &m);
		assert_in_range(one.n_todo, 1, ARRAY_SIZE(todo));
		m = todo[0];
	}
}

static void search(struct search *s, uint8_t mark)
{
	struct model m = { .r = s->total, .mark = mark, .running = true, .d = { .in_ready = 1, .out_ready = 1 } };

	s->set = calloc(SET_MAX, sizeof(*s->set));
	s->todo = malloc(SET_MAX / 2 * sizeof(*s->todo));
	reach(s, &m);
	while (s->n_todo) {
		m = s->todo[--s->n_todo];
		around(s, &m);
		if (m.running) {
			check_ends(s, &m);
			step(s, &m);
		} else if (m.ev_in || m.ev_out) {
			deliver(s, &m);
		} else {
			check_rest(s, &m);
		}
	}
	free(s->set);
	free(s->todo);
}

static void test_pipes(void **state)
{
	for (uint8_t n = 0; n <= 6; n++) {
		struct search s = { .total = n, .pipes = true };

		search(&s, NO_MARK);
		assert_int_not_equal(s.done, 0);
		assert_int_equal(s.broken, 0);
		assert_int_equal(s.acts[SPLICE_COPY] + s.acts[SPLICE_URGENT], 0);
	}
}

static void test_copies(void **state)
{
	for (uint8_t n = 0; n <= 6; n++) {
		struct search s = { .total = n, .no_pipes = true };

		search(&s, NO_MARK);
		assert_int_not_equal(s.done, 0);
		assert_int_equal(s.acts[SPLICE_DRAIN], 0);
	}
}

/* Pipes come and go. */
static void test_mixed(void **state)
{
	struct search s = { .total = 5, .pipes = true, .no_pipes = true };

	search(&s, NO_MARK);
	assert_int_not_equal(s.done, 0);
	assert_true(s.acts[SPLICE_DRAIN] && s.acts[SPLICE_COPY]);
}

static void test_resets(void **state)
{
	for (uint8_t n = 0; n <= 4; n++) {
		struct search s = { .total = n, .pipes = true, .no_pipes = true, .resets = true };

		search(&s, NO_MARK);
		assert_int_not_equal(s.done, 0);
		assert_int_not_equal(s.broken, 0);
	}
}

/* The urgent unit at each place, the first and the last included. */
static void test_urgent(void **state)
{
	for (uint8_t mark = 0; mark < 5; mark++) {
		struct search s = { .total = 5, .pipes = true };

		search(&s, mark);
		assert_int_not_equal(s.done, 0);
		assert_int_not_equal(s.oob, 0);
		s = (struct search){ .total = 5, .pipes = true, .no_pipes = true, .resets = true };
		search(&s, mark);
		assert_true(s.done && s.oob && s.broken);
	}
}

static void test_end(void **state)
{
	static const struct {
		struct splice_dir d[2];
		bool err;
		enum splice_end end;
	} t[] = {
		{ { { 0 }, { 0 } }, false, SPLICE_GO_ON },
		{ { { .shut = 1 }, { 0 } }, false, SPLICE_GO_ON },
		{ { { .shut = 1 }, { .shut = 1 } }, false, SPLICE_CLOSE },
		{ { { .shut = 1 }, { .shut = 1 } }, true, SPLICE_CLOSE },
		{ { { 0 }, { 0 } }, true, SPLICE_RESET },
		{ { { .shut = 1 }, { 0 } }, true, SPLICE_RESET },
		{ { { .piped = 5 }, { 0 } }, true, SPLICE_RESET },
		{ { { .piped = 5, .out_ready = 1 }, { 0 } }, true, SPLICE_GO_ON },
		{ { { 0 }, { .in_ready = 1 } }, true, SPLICE_GO_ON },
		{ { { .in_broken = 1 }, { 0 } }, false, SPLICE_RESET },
		{ { { .in_broken = 1, .piped = 1, .out_ready = 1 }, { 0 } }, false, SPLICE_GO_ON },
		{ { { .shut = 1 }, { .out_broken = 1, .piped = 1, .out_ready = 1, .in_ready = 1 } }, false, SPLICE_RESET },
		{ { { .eof = 1 }, { .out_broken = 1 } }, false, SPLICE_GO_ON },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(splice_dirs_end(t[i].d, t[i].err), t[i].end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipes),  cmocka_unit_test(test_copies), cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_resets), cmocka_unit_test(test_urgent), cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
