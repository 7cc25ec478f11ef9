/* SPDX-License-Identifier: MIT */
#include "os/busguard.h"

#include <errno.h>
#include <signal.h>

#define PAGE_LEN 4096u

/*
 * The signal comes out of an access to memory, never while this list is changed. All that a handler is given is an address, so there
 * is no other way to what it needs.
 */
static struct busguard *guards;

static struct busguard *guard_of(void *addr)
{
	struct busguard *g = guards;

	while (g && !g->holds(g->ctx, addr))
		g = g->next;
	return g;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	/* Sent by a process, or a fault of the hardware: nothing that another mapping would help against. */
	if (info->si_code == BUS_ADRERR) {
		struct busguard *g = guard_of(info->si_addr);

		if (g && g->fix(g->ctx, info->si_addr)) {
			errno = saved;
			return;
		}
	}
	/* The access is made again, now with what the signal does by default. One that was only sent is sent again. */
	signal(SIGBUS, SIG_DFL);
	if (info->si_code <= 0)
		raise(SIGBUS);
	errno = saved;
}

int busguard_add(struct busguard *g)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	if (!guards && sigaction(SIGBUS, &sa, NULL))
		return -errno;
	g->next = guards;
	guards = g;
	return 0;
}

void busguard_del(struct busguard *g)
{
	struct busguard **at = &guards;

	while (*at && *at != g)
		at = &(*at)->next;
	if (*at)
		*at = g->next;
}

bool busguard_look(const struct iovec *iov, unsigned n)
{
	bool guarded = false;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = iov[i].iov_base;
		size_t part;

		for (size_t at = 0; at < iov[i].iov_len; at += part) {
			part = MIN(iov[i].iov_len - at, PAGE_LEN - ((uintptr_t)p + at) % PAGE_LEN);
			if (!guard_of(p + at))
				continue;
			(void)*(volatile uint8_t *)(p + at);
			guarded = true;
		}
	}
	return guarded;
}
