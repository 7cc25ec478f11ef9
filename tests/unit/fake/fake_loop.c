/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake_sock.h"

int loop_init(struct loop *l)
{
	memset(l, 0, sizeof(*l));
	l->epfd = -1;
	l->now_ns = fake_os.now_ns;
	timers_init(&l->timers, l->now_ns);
	return 0;
}

void loop_fini(struct loop *l)
{
	l->owners = 0;
}

unsigned loop_owner(struct loop *l, loop_event_fn *fn, void *ctx)
{
	assert_true(l->owners + 1 < LOOP_OWNERS);
	l->owners++;
	l->owner[l->owners].fn = fn;
	l->owner[l->owners].ctx = ctx;
	return l->owners;
}

static uint32_t ready(struct fake_fd *f)
{
	uint32_t ev = f->kind == FAKE_DGRAM ? fake_dgram_ready(f) : fake_stream_ready(f);

	return ev & (f->mask | EPOLLERR | EPOLLHUP);
}

int loop_add(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_EPOLL_ADD, fd);

	if (err)
		return -err;
	assert_false(f->in_epoll);
	assert_in_range(ref.owner, 1, l->owners);
	f->in_epoll = true;
	f->ref = ref;
	f->mask = events;
	f->pending = ready(f);
	return 0;
}

int loop_mod(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_EPOLL_MOD, fd);

	if (err)
		return -err;
	assert_true(f->in_epoll);
	f->ref = ref;
	f->mask = events;
	f->pending |= !!ready(f);
	return 0;
}

void loop_del(struct loop *l, int fd)
{
	struct fake_fd *f = fake_fd(fd);

	fake_os.calls[FAKE_EPOLL_DEL]++;
	f->in_epoll = false;
}

int loop_turn(struct loop *l)
{
	struct {
		struct ref ref;
		uint32_t events;
	} ev[LOOP_EVENTS];
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_FDS && n < LOOP_EVENTS; i++) {
		struct fake_fd *f = &fake_os.fd[i];
		bool look = f->kind != FAKE_FREE && f->in_epoll && (f->pending || !(f->mask & EPOLLET));
		uint32_t events = look ? ready(f) : 0;

		f->pending = f->pending && !look;
		if (!events)
			continue;
		ev[n].ref = f->ref;
		ev[n++].events = events;
		f->events++;
	}
	l->now_ns = fake_os.now_ns;
	l->turns++;
	fake_os.dispatched = n;
	for (unsigned i = 0; i < n; i++)
		l->owner[ev[i].ref.owner].fn(l->owner[ev[i].ref.owner].ctx, ev[i].ref, ev[i].events);
	timers_run(&l->timers, l->now_ns);
	if (l->turn_end)
		l->turn_end(l->turn_ctx);
	return 0;
}

int loop_run(struct loop *l)
{
	while (!l->stop)
		assert_int_equal(loop_turn(l), 0);
	return l->exit_status;
}

void loop_stop(struct loop *l, int status)
{
	l->stop = true;
	l->exit_status = status;
}

void fake_loop_advance(struct loop *l, uint64_t ns)
{
	uint64_t end = fake_os.now_ns + ns;

	while (fake_os.now_ns < end) {
		uint64_t next = timers_next(&l->timers, fake_os.now_ns);

		fake_os.now_ns += MIN(next ? next : TIMER_TICK_NS, end - fake_os.now_ns);
		l->now_ns = fake_os.now_ns;
		timers_run(&l->timers, l->now_ns);
	}
	if (l->turn_end)
		l->turn_end(l->turn_ctx);
}

unsigned fake_loop_settle(struct loop *l, unsigned max)
{
	unsigned n = 0;

	while (n < max) {
		assert_int_equal(loop_turn(l), 0);
		if (!fake_os.dispatched)
			break;
		n++;
	}
	return n;
}
