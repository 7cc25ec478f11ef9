/* SPDX-License-Identifier: MIT */
/*
 * Connections of the namespace to UNIX sockets of the host. Where as many wait to be accepted there as the server wants to have waiting, one
 * of each port waits with us, and the next ones in the kernel's queue, as they would before a TCP server; but not for ever: then it is reset.
 */
#pragma once

#include "fwd/listen.h"
#include "os/loop.h"
#include "tcp/splice.h"

#define UNIX_OUT_WAIT_NS (10 * NSEC_PER_SEC)

struct unix_out {
	struct loop *loop;
	struct listeners *ls; /* of the namespace */
	struct splice *splice;
	struct timer again; /* armed while some wait: nobody tells when there is room */
	uint64_t step_ns; /* until the next try */
	struct {
		int fd;
		uint32_t listener; /* index, one of each */
		uint64_t due_ns;
	} wait[FWD_RULES_MAX];
	unsigned n;
};

void unix_out_init(struct unix_out *u, struct loop *loop, struct listeners *ls, struct splice *splice);
void unix_out_fini(struct unix_out *u);

/* Joins the connection fd, which it takes in any case, with one to the path of l's rule. 0, perhaps to wait; else -errno. */
MUST_USE int unix_out_open(struct unix_out *u, const struct listener *l, int fd);

/* One that came by l waits: no more are to be taken there until the listeners are woken (listeners_wake()). */
bool unix_out_waits(const struct unix_out *u, const struct listener *l);

/* The rule of l is about to leave its table: who waits is reset. */
void unix_out_gone(struct unix_out *u, const struct listener *l);
