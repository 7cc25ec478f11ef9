/* SPDX-License-Identifier: MIT */
#include "os/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define SPIN_CHECK 32 /* turns after which is looked whether others want the processor */
#define AT_ONCE_NS 5000 /* a call that takes no longer did not sleep */
#define CLOCK_NS 500 /* reading the clock takes longer only where each time is a system call */

static uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void clock_update(struct loop *l)
{
	l->now_ns = clock_now();
	log_set_now(l->now_ns / NSEC_PER_SEC);
}

int loop_init(struct loop *l)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return -errno;
	memset(l, 0, sizeof(*l));
	l->epfd = fd;
	clock_update(l);
	spin_init(&l->spin);
	l->may_spin = clock_now() - l->now_ns < CLOCK_NS;
	timers_init(&l->timers, l->now_ns);
	return 0;
}

void loop_fini(struct loop *l)
{
	if (l->epfd >= 0)
		close(l->epfd);
	l->epfd = -1;
}

/* Number 0 is no owner, so that an event with a reference that nobody filled in goes nowhere. */
unsigned loop_owner(struct loop *l, loop_event_fn *fn, void *ctx)
{
	unsigned n = ++l->owners;

	assert(n < LOOP_OWNERS);
	l->owner[n].fn = fn;
	l->owner[n].ctx = ctx;
	return n;
}

static int loop_ctl(struct loop *l, int op, int fd, struct epoll_event *ev)
{
	return epoll_ctl(l->epfd, op, fd, ev) ? -errno : 0;
}

static struct epoll_event event_of(struct ref ref, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	static_assert(sizeof(ref) == sizeof(ev.data.u64), "a reference has to fit the data of an epoll event");
	memcpy(&ev.data.u64, &ref, sizeof(ref));
	return ev;
}

int loop_add(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct epoll_event ev = event_of(ref, events);

	return loop_ctl(l, EPOLL_CTL_ADD, fd, &ev);
}

int loop_mod(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct epoll_event ev = event_of(ref, events);

	return loop_ctl(l, EPOLL_CTL_MOD, fd, &ev);
}

void loop_del(struct loop *l, int fd)
{
	(void)loop_ctl(l, EPOLL_CTL_DEL, fd, NULL);
}

/* Rounded up: an early wake-up would find nothing to do and go round again. */
static int wait_ms(const struct loop *l, uint64_t now_ns)
{
	uint64_t ns = timers_next(&l->timers, now_ns);

	if (ns == UINT64_MAX)
		return -1;
	return (int)MIN((ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (uint64_t)INT_MAX);
}

/* How often the processor was taken away so far. */
static uint64_t preemptions(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) ? 0 : (uint64_t)u.ru_nivcsw;
}

/* Staying awake is for processors that nobody else has a use for. */
static void spin_check(struct loop *l)
{
	uint64_t before = l->preemptions;

	if (!l->spin.ns) {
		l->spin_turns = 0;
		return;
	}
	if (l->spin_turns++ % SPIN_CHECK)
		return;
	l->preemptions = preemptions();
	if (l->spin_turns > 1)
		spin_preempted(&l->spin, SPIN_CHECK, l->preemptions - before);
}

/* epoll_wait(), awake at first if the last turns say that it will be short. */
static int events_wait(struct loop *l, struct epoll_event *ev)
{
	uint64_t begin = clock_now(), asleep = begin, end = begin + l->spin.ns;
	int n;

	while (asleep < end)
		asleep = clock_now();
	n = epoll_wait(l->epfd, ev, LOOP_EVENTS, l->stop ? 0 : wait_ms(l, asleep));
	if (l->may_spin) {
		uint64_t work = begin - l->now_ns, now = clock_now();

		spin_check(l);
		spin_turn(&l->spin, work, now - begin, now - asleep > AT_ONCE_NS);
	}
	return n;
}

int loop_turn(struct loop *l)
{
	struct epoll_event ev[LOOP_EVENTS];
	int n = events_wait(l, ev);

	if (n < 0 && errno != EINTR)
		return -errno;
	l->turns++;
	clock_update(l);

	for (int i = 0; i < n; i++) {
		struct ref ref;

		memcpy(&ref, &ev[i].data.u64, sizeof(ref));
		if (ref.owner && ref.owner <= l->owners)
			l->owner[ref.owner].fn(l->owner[ref.owner].ctx, ref, ev[i].events);
	}
	timers_run(&l->timers, l->now_ns);
	if (l->turn_end)
		l->turn_end(l->turn_ctx);
	return 0;
}

int loop_run(struct loop *l)
{
	while (!l->stop) {
		int err = loop_turn(l);

		if (err)
			return err;
	}
	return l->exit_status;
}

void loop_stop(struct loop *l, int status)
{
	l->stop = true;
	l->exit_status = status;
}
