/* SPDX-License-Identifier: MIT */
/*
 * The host agent, seen by the engine: a small process that watches the host's network and resolv.conf, and tells what of the configuration
 * changes by that (conf/follow.h). It has no capabilities, and can open nothing but files in the folders that resolv.conf is in; the engine,
 * which parses what the guest sends, has neither these nor a socket that could ask. Where it can't be had, or ends, that is one warning, and
 * what was known last goes on being true.
 */
#pragma once

#include "conf/conf.h"
#include "conf/follow.h"
#include "os/helper.h"
#include "os/loop.h"

struct hostwatch_conf {
	const struct conf *conf;
	const struct conf_source *source; /* what conf was made from */
	struct helper_seal seal;
};

/* -EBADMSG: that makes no sense, and is the last thing that is heard of it. */
typedef int hostwatch_fn(void *ctx, const struct follow *f);

struct hostwatch {
	struct helper h;
	struct loop *loop;
	hostwatch_fn *fn;
	void *ctx;
};

/* Forks it, early: it is a copy of whoever starts it. Doesn't wait. */
void hostwatch_start(const struct hostwatch_conf *c, struct hostwatch *ret_w);

/* From here on changes are given to fn, in turns of the loop. */
MUST_USE int hostwatch_open(struct hostwatch *w, struct loop *loop, hostwatch_fn *fn, void *ctx);

/* Ends it. Once more does nothing. */
void hostwatch_close(struct hostwatch *w);

/* --- what goes over the socket --- */

/*
 * Messages of a fixed size for each type, in host order, towards the engine only. One of another size, or with a descriptor, ends the engine's
 * trust in it.
 */
enum hostwatch_type {
	HOSTWATCH_NEWS, /* follow */
	HOSTWATCH_END, /* text: why it ends */
	HOSTWATCH_TYPES,
};

#define HOSTWATCH_TEXT_MAX 256

struct hostwatch_msg {
	uint32_t type; /* enum hostwatch_type */
	union {
		struct follow follow;
		char text[HOSTWATCH_TEXT_MAX];
	};
};

/* Bytes of a message of this type. 0: there is none. */
static inline size_t hostwatch_msg_size(uint32_t type)
{
	static const size_t body[HOSTWATCH_TYPES] = {
		[HOSTWATCH_NEWS] = sizeof(struct follow), [HOSTWATCH_END] = HOSTWATCH_TEXT_MAX
	};

	return type < HOSTWATCH_TYPES ? offsetof(struct hostwatch_msg, follow) + body[type] : 0;
}
