/* SPDX-License-Identifier: MIT */
/*
 * Stands in for os/sock.h, os/loop.h and os/rlimit.h: sockets are entries of a table, what happens to them is remembered, and a test
 * says which calls fail. Large enough for a socket on every port.
 */
#pragma once

#include "base/addr.h"
#include "os/loop.h"

#define FAKE_FD 1000 /* number of the first descriptor */
#define FAKE_FDS 400000

struct fake_sock {
	bool open, dual, reuse, bound, listening, no_port, in_loop, freebind, pktinfo;
	int family, type, proto;
	char ifname[16];
	struct ep ep;
	unsigned scope;
	struct ref ref;
	uint32_t events;
};

struct fake_host {
	struct fake_sock s[FAKE_FDS];
	unsigned n; /* used so far, descriptors are not used again */
	unsigned open, in_loop; /* now */
	unsigned attempts; /* calls of sock_open() */

	int (*open_result)(int family); /* NULL: all succeed */
	int (*bind_result)(const struct fake_sock *s);
	int (*accept_result)(void); /* NULL: nobody waits */
	unsigned accepts; /* calls of sock_accept() */
	int dev_result, listen_result, dual_result, freebind_result, pktinfo_result;
	unsigned loop_room; /* additions that succeed */
	unsigned mods_failing; /* changes that do not, from now on */
	uint64_t limit; /* of rlimit_nofile_want() */
	uint64_t wanted;

	unsigned lines;
	char line[64][256]; /* log lines: level as a letter, then the text */
};

extern struct fake_host *fake;

void fake_reset(void); /* also catches the log */
struct fake_sock *fake_get(int fd);
