/* SPDX-License-Identifier: MIT */
/* System calls of the program that fail when a test says so, in place of those of the C library; else they are what they always are. */
#pragma once

enum failing_call { FAIL_RECV, FAIL_RECVMMSG, FAIL_SENDMSG, FAIL_SENDMMSG, FAIL_EPOLL_CTL, FAIL_CALLS };

struct failing {
	int err; /* positive errno */
	unsigned skip, times; /* after skip calls that succeed, so many fail */
	unsigned calls; /* so far */
};

extern struct failing failing[FAIL_CALLS];

/* From now on; also begins to count. */
void failing_set(enum failing_call call, int err, unsigned skip, unsigned times);
