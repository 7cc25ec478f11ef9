/* SPDX-License-Identifier: MIT */
/*
 * The server's half of the control socket (docs/control.md): clients, lines, JSON around a request. What requests do is the caller's.
 *
 * Nothing blocks, and no client can make others, or the packets, wait: a few requests each turn, bounded buffers, and nothing is read from
 * a client that doesn't take its replies.
 */
#pragma once

#include <jansson.h>

#include "os/loop.h"

#define CTL_PROTOCOL 1
#define CTL_LINE_MAX 65536u /* of a request, newline included */
#define CTL_OUT_MAX (UINT32_C(256) << 10) /* what waits for a client */
#define CTL_DEPTH_MAX 8
#define CTL_CLIENTS 16
#define CTL_TURN 4 /* requests of one client in one turn */
#define CTL_ID_MAX 72

struct ctl_server;

/* Whom a reply is for. */
struct ctl_who {
	uint32_t index, gen;
};

struct ctl_call {
	const char *name;
	json_t *args; /* the request; the server's */
	int fd; /* that came with it; -1: none. Who takes it sets this to -1 */
	struct ctl_who who;
	json_t *reply; /* an object, empty at first: what is in the reply beside id and ok */
	bool subscribe; /* set: from now on the client gets events, and "ready" at once */
	const char *error; /* set by ctl_fail() */
	char message[512];
};

enum ctl_result {
	CTL_REPLY, /* now: as c says */
	CTL_LATER, /* by ctl_answer() */
	CTL_AGAIN, /* something else has to end first: comes again, after ctl_retry() */
};

typedef enum ctl_result ctl_request_fn(void *ctx, struct ctl_call *c);

/* The request was not fulfilled: an error of docs/control.md, and a line for people. Returns CTL_REPLY. */
enum ctl_result ctl_fail(struct ctl_call *c, const char *error, const char *fmt, ...) PRINTF(3, 4);

struct ctl_server_conf {
	int listen_fd; /* a listening stream socket */
	int file_fd; /* its file (ctl/door.h); -1: it has none */
	ctl_request_fn *fn;
	void *ctx;
};

/*
 * Takes both descriptors over on success. Whoever comes has to pass the door (ctl/door.h). This process is who it will be from now on, and
 * jansson has its arena (ctl/arena.h). -ENOMEM.
 */
MUST_USE int ctl_server_new(struct loop *loop, const struct ctl_server_conf *c, struct ctl_server **ret_s);

/* Tries to send what waits for clients, without waiting for them. NULL is fine. */
void ctl_server_free(struct ctl_server *s);

/*
 * The answer to a call that got CTL_LATER: error NULL if it was fulfilled. Takes reply, an object, and the caller holds no other value of
 * jansson's: the client's next request may be worked on at once. The client may be gone.
 */
void ctl_answer(struct ctl_server *s, const struct ctl_who *who, const char *error, const char *message, json_t *reply);

/* Requests that got CTL_AGAIN come again. */
void ctl_retry(struct ctl_server *s);

/* Sends {"event": name, ...} to all that subscribed; takes more: NULL, or an object with what else is in it. s may be NULL. */
void ctl_event(struct ctl_server *s, const char *name, json_t *more);

/* Clients that are connected now. */
unsigned ctl_clients(const struct ctl_server *s);
