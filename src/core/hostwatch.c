/* SPDX-License-Identifier: MIT */
#include "core/hostwatch.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "core/hostwatch_child.h"

static void unwatched(struct hostwatch *w, const char *why)
{
	log_warn("What changes on the host is not noticed any more: %s", why);
	hostwatch_close(w);
}

void hostwatch_start(const struct hostwatch_conf *c, struct hostwatch *ret_w)
{
	int err;

	*ret_w = (struct hostwatch){ .h.fd = -1 };
	err = helper_start(hostwatch_child_run, c, &ret_w->h);
	if (err)
		unwatched(ret_w, strerror(-err));
}

/* NULL, or why nothing more is to be expected. */
static const char *msg_take(struct hostwatch *w, struct hostwatch_msg *m, ssize_t len)
{
	if (len < (ssize_t)sizeof(m->type) || (size_t)len != hostwatch_msg_size(m->type))
		return "a message of the host agent's is none";
	if (m->type == HOSTWATCH_END) {
		m->text[sizeof(m->text) - 1] = '\0';
		return m->text;
	}
	return w->fn(w->ctx, &m->follow) ? "a message of the host agent's makes no sense" : NULL;
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct hostwatch *w = ctx;
	struct hostwatch_msg m;
	const char *why = NULL;
	int fds[FDPASS_MAX];

	while (!why && w->h.fd >= 0) {
		unsigned n = 0;
		ssize_t len = helper_recv(&w->h, &m, sizeof(m), fds, &n);

		if (len == -EAGAIN)
			return;
		fdpass_close(fds, n);
		why = len == -EPIPE ? "the host agent is gone" : msg_take(w, &m, n ? -EPROTO : len);
	}
	if (why)
		unwatched(w, why);
}

int hostwatch_open(struct hostwatch *w, struct loop *loop, hostwatch_fn *fn, void *ctx)
{
	w->loop = loop;
	w->fn = fn;
	w->ctx = ctx;
	return w->h.fd < 0 ? 0 : loop_add(loop, w->h.fd, ref_init(loop_owner(loop, on_event, w), 0, 0), EPOLLIN);
}

void hostwatch_close(struct hostwatch *w)
{
	helper_close(&w->h);
}
