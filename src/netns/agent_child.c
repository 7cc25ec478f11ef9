/* SPDX-License-Identifier: MIT */
#include "netns/agent_child.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "netns/agent_serve.h"
#include "os/daemon.h"
#include "os/helper.h"

static void log_take(void *ctx, enum log_level level, const char *line)
{
	struct agent_serve *c = ctx;

	if (level != LOG_LVL_ERR)
		return;
	snprintf(c->reply.text, sizeof(c->reply.text), "%.*s", AGENT_TEXT_MAX - 1, line);
	/* Whatever is an error now is the last thing that we say. */
	if (c->sealed) {
		c->reply.head.type = AGENT_HELLO;
		c->reply.err = -EPERM;
		c->reply.n_fds = 0;
		(void)!fdpass_send(c->sock, &c->reply, agent_reply_size(AGENT_HELLO), NULL, 0, MSG_DONTWAIT);
	}
}

/* --- start --- */

/* The rights to change the user are for seal(). */
static int enter(struct agent_serve *c, const struct agent_place *where)
{
	static const unsigned cap[] = { CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SETUID, CAP_SETGID };
	int err = helper_stand_alone();

	if (!err)
		err = ns_enter(where->ns);
	if (!err && where->annex && unshare(CLONE_NEWNET))
		err = -errno;
	if (!err)
		err = daemon_fds_close(&c->sock, STDERR_FILENO + 1);
	if (!err)
		err = helper_bounds_drop();
	if (!err)
		err = helper_caps_keep(cap, ARRAY_SIZE(cap));
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL))
		err = -errno;
	if (!err)
		err = helper_watch(c->parent);
	return err;
}

void agent_child_run(const void *ctx, int sock, pid_t parent)
{
	struct agent_serve *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		_exit(EXIT_FAILURE);
	c->sock = sock;
	c->parent = parent;
	c->reply.head.type = AGENT_HELLO;
	/* The descriptors that lines went to are closed, and their numbers used for something else. */
	log_set_sink(log_take, c);
	err = enter(c, ctx);
	if (agent_serve_reply(c, err) || err)
		_exit(EXIT_FAILURE);
	while (!err)
		err = agent_serve_next(c);
	_exit(err == -EPIPE ? EXIT_SUCCESS : EXIT_FAILURE);
}
