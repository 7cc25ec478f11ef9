/* SPDX-License-Identifier: MIT */
/*
 * A path with delay between two network namespaces: two tap devices, and what is sent into the one comes out of the other.
 *
 *   slow IFNAME PID DELAY RATE
 *
 * Creates the tap IFNAME in the present network namespace and another one in that of PID, prints "ready" and carries frames until it is
 * killed: each DELAY microseconds after it has left, RATE bytes a second and direction. None is lost and none passes another one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 2048
#define BATCH 64

struct frame {
	struct frame *next;
	uint64_t due;
	size_t len;
	uint8_t bytes[FRAME_MAX];
};

struct way {
	int from, to;
	struct frame *first, **end;
	uint64_t free_at; /* when all of it has left */
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int tap_open(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
		fail("/dev/net/tun");
	return fd;
}

static void enter(const char *pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail(path);
	close(fd);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take(struct way *w, uint64_t delay_ns, uint64_t rate)
{
	for (int i = 0; i < BATCH; i++) {
		struct frame *f = malloc(sizeof(*f));
		uint64_t now = now_ns();
		ssize_t n;

		if (!f)
			fail("malloc");
		n = read(w->from, f->bytes, sizeof(f->bytes));
		if (n < 0) {
			free(f);
			if (errno != EAGAIN && errno != EINTR && errno != EIO) /* EIO: it is down */
				fail("read");
			return;
		}
		w->free_at = (w->free_at > now ? w->free_at : now) + (uint64_t)n * 1000000000u / rate;
		f->next = NULL;
		f->len = (size_t)n;
		f->due = w->free_at + delay_ns;
		*w->end = f;
		w->end = &f->next;
	}
}

static void give(struct way *w)
{
	struct frame *f;

	while ((f = w->first) && f->due <= now_ns()) {
		w->first = f->next;
		if (!w->first)
			w->end = &w->first;
		if (write(w->to, f->bytes, f->len) < 0 && errno != EIO)
			fail("write");
		free(f);
	}
}

/* Until the next frame is due; NULL: there is none. */
static const struct timespec *pause_for(const struct way *w, struct timespec *t)
{
	uint64_t due = UINT64_MAX, now = now_ns();

	for (int i = 0; i < 2; i++) {
		if (w[i].first && w[i].first->due < due)
			due = w[i].first->due;
	}
	if (due == UINT64_MAX)
		return NULL;
	due = due > now ? due - now : 0;
	*t = (struct timespec){ .tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u) };
	return t;
}

int main(int argc, char **argv)
{
	struct way w[2] = { 0 };
	uint64_t delay_ns, rate;

	if (argc != 5) {
		fprintf(stderr, "usage: slow IFNAME PID DELAY RATE\n");
		return 2;
	}
	delay_ns = strtoull(argv[3], NULL, 10) * 1000;
	rate = strtoull(argv[4], NULL, 10);
	w[0].from = w[1].to = tap_open(argv[1]);
	enter(argv[2]);
	w[1].from = w[0].to = tap_open(argv[1]);
	for (int i = 0; i < 2; i++)
		w[i].end = &w[i].first;
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd p[2] = { { .fd = w[0].from, .events = POLLIN }, { .fd = w[1].from, .events = POLLIN } };
		struct timespec t;

		if (ppoll(p, 2, pause_for(w, &t), NULL) < 0 && errno != EINTR)
			fail("poll");
		for (int i = 0; i < 2; i++) {
			if (p[i].revents)
				take(&w[i], delay_ns, rate);
			give(&w[i]);
		}
	}
}
