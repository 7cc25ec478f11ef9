/* SPDX-License-Identifier: MIT */
/*
 * The splice engine among fake sockets and pipes: both ends of each connection are the test.
 *
 *   end[0] (client) --- accepted | splice | connected --- end[1] (server)
 */
#pragma once

#include "fake_stream.h"
#include "tcp/splice.h"

struct splice_sim {
	struct loop loop;
	struct splice *s;
	int listener; /* of whoever passes connections on */
};

/* Also begins and ends the fakes; at the end all descriptors have to be closed. conf.loop is filled in. */
void splice_sim_init(struct splice_sim *x, const struct splice_conf *c);
void splice_sim_fini(struct splice_sim *x);

/*
 * A client comes, and is passed on as far as that goes. *ret_end: what each end is connected to; that of the server is NULL if there was
 * not even a socket for it, and else waits for fake_stream_connected().
 */
void splice_sim_open(struct splice_sim *x, struct fake_stream *ret_end[2]);

/* Turns until there is nothing more to do; fails if that has no end. */
void splice_sim_settle(struct splice_sim *x);

/* len bytes more from an end, if it still speaks. */
void splice_sim_push(struct fake_stream *end[2], unsigned i, size_t len);

/* What came to an end is what the other one sent, in order; and that it was all is only said when it was. */
void splice_sim_check(struct fake_stream *const end[2]);

/* Both ends reset what is left of the connection. */
void splice_sim_reset(struct splice_sim *x, struct fake_stream *end[2]);
