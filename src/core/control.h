/* SPDX-License-Identifier: MIT */
/* What requests on the control socket do (docs/control.md): the engine's side of ctl/server.h. */
#pragma once

#include "ctl/server.h"
#include "flow/flow.h"
#include "os/unixpath.h"

struct engine;
struct control;

/* The listening socket, and its file as in ctl/door.h. */
struct control_fds {
	int listen, file;
};

/* Binds the socket, for our user only. As unixpath_listen_private(); errors are logged. */
MUST_USE int control_listen(const char *path, struct control_fds *ret_fds);

/* The same of one that is there. */
void control_passed(int fd, struct control_fds *ret_fds);

/* Takes both over on success. The engine runs. -errno. */
MUST_USE int control_new(struct engine *e, const struct control_fds *fds, struct control **ret_c);

/* c may be NULL in all that follows. */
void control_free(struct control *c);

/* To all that listen to events: something happened; the last: the program ends. */
void control_event(struct control *c, const char *name);
void control_exit(struct control *c, int status);

/* For struct pasta_fwd_deps, ctx being the engine. */
void control_port_opened(void *ctx, unsigned rule, uint16_t port, int err);

/* The requests "flows" and "counters" (control_flows.c). */
enum ctl_result control_flows(struct engine *e, struct ctl_call *call);
enum ctl_result control_counters(struct engine *e, struct ctl_call *call);
