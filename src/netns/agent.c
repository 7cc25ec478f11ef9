/* SPDX-License-Identifier: MIT */
#include "netns/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "netns/agent_child.h"
#include "os/clock.h"

#define CALL_TIMEOUT_MS 10000 /* a machine under load, not a network */

/* One reply, and its descriptors; if there is no room for them, r->err tells. -EAGAIN, -EPIPE at the end, -EPROTO if it makes no sense. */
static int reply_recv(struct agent *a, struct agent_reply *r, int fds[FDPASS_MAX])
{
	unsigned n = 0;
	ssize_t len = helper_recv(&a->h, r, sizeof(*r), fds, &n);

	if (len < 0)
		return (int)len;
	if ((size_t)len < sizeof(r->head) || (size_t)len != agent_reply_size(r->head.type) || r->err > 0 || (r->err && r->n_fds) ||
	    (n && n != r->n_fds)) {
		fdpass_close(fds, n);
		return -EPROTO;
	}
	/* It did its part, but we have no more room for descriptors. */
	if (n != r->n_fds)
		r->err = -EMFILE;
	r->n_fds = n;
	return 0;
}

static void reply_give(struct agent *a, struct agent_reply *r, const int *fds)
{
	if (r->head.type == AGENT_HELLO) {
		r->text[sizeof(r->text) - 1] = '\0';
		log_err("Namespace agent: %s", r->text);
		fdpass_close(fds, r->n_fds);
		return;
	}
	if (a->fn)
		a->fn(a->ctx, r, fds, r->n_fds);
	else
		fdpass_close(fds, r->n_fds);
}

void agent_set_reply(struct agent *a, agent_reply_fn *fn, void *ctx)
{
	a->fn = fn;
	a->ctx = ctx;
}

/* fd goes along, if there is one. */
static int request_send(struct agent *a, struct agent_req *req, int fd, uint32_t *ret_cookie)
{
	size_t len = agent_req_size(req->head.type);
	int err;

	if (a->h.fd < 0)
		return -EPIPE;
	if (!len)
		return -EINVAL;
	req->head.cookie = a->cookie + 1;
	err = fdpass_send(a->h.fd, req, len, &fd, fd >= 0, MSG_DONTWAIT);
	if (err)
		return err == -ECONNRESET ? -EPIPE : err;
	*ret_cookie = ++a->cookie;
	return 0;
}

int agent_send(struct agent *a, struct agent_req *req, uint32_t *ret_cookie)
{
	return request_send(a, req, -1, ret_cookie);
}

int agent_on_event(struct agent *a)
{
	struct agent_reply r;
	int fds[FDPASS_MAX];
	int err;

	if (a->h.fd < 0)
		return -EPIPE;
	for (;;) {
		err = reply_recv(a, &r, fds);
		if (err)
			return err == -EAGAIN ? 0 : err;
		reply_give(a, &r, fds);
		if (a->h.fd < 0)
			return 0; /* closed by whom it was given to */
	}
}

/* Waits for the reply with this type and cookie. */
static int reply_wait(struct agent *a, const struct agent_head *want, struct agent_reply *r, int fds[FDPASS_MAX])
{
	int64_t end = clock_ms() + CALL_TIMEOUT_MS;

	for (;;) {
		int err = fdpass_wait(a->h.fd, (int)MAX(end - clock_ms(), INT64_C(0)));

		if (!err)
			err = reply_recv(a, r, fds);
		if (!err && r->head.type == want->type && r->head.cookie == want->cookie)
			return r->err;
		if (!err)
			reply_give(a, r, fds);
		else if (err != -EAGAIN)
			return err;
		/* Something may come all the time. */
		if (clock_ms() >= end)
			return -ETIMEDOUT;
	}
}

int agent_call(struct agent *a, struct agent_req *req, struct agent_reply *ret_reply, int ret_fds[FDPASS_MAX])
{
	uint32_t cookie;
	int err = agent_send(a, req, &cookie);

	return err ? err : reply_wait(a, &req->head, ret_reply, ret_fds);
}

/* --- its life --- */

/* ret_text: what the agent says of an error; empty if it says nothing. */
static int start(const struct agent_place *where, struct agent *ret_a, char ret_text[AGENT_TEXT_MAX])
{
	static const struct agent_head hello = { .type = AGENT_HELLO };
	struct agent a = { .h.fd = -1 };
	struct agent_reply r = { .text = "" };
	int fds[FDPASS_MAX];
	int err;

	err = helper_start(agent_child_run, where, &a.h);
	if (!err)
		err = reply_wait(&a, &hello, &r, fds);
	if (!err)
		fdpass_close(fds, r.n_fds);
	snprintf(ret_text, AGENT_TEXT_MAX, "%.*s", AGENT_TEXT_MAX - 1, r.text);
	if (err) {
		agent_close(&a);
		return err;
	}
	*ret_a = a;
	return 0;
}

int agent_start(const struct ns *ns, struct agent *ret_a)
{
	char text[AGENT_TEXT_MAX];
	int err = start(&(struct agent_place){ .ns = ns }, ret_a, text);

	if (err)
		log_err("%s%s", text[0] ? text : "Couldn't start the namespace agent: ", text[0] ? "" : strerror(-err));
	return err;
}

int agent_start_annex(const struct ns *ns, struct agent *ret_a)
{
	char text[AGENT_TEXT_MAX];

	return start(&(struct agent_place){ .ns = ns, .annex = true }, ret_a, text);
}

void agent_close(struct agent *a)
{
	helper_close(&a->h);
}

/* --- start-up --- */

/* As agent_call(), with want descriptors on success. */
static int call_fds(struct agent *a, struct agent_req *req, struct agent_reply *r, int fds[FDPASS_MAX], unsigned want)
{
	int err = agent_call(a, req, r, fds);

	if (!err && r->n_fds != want) {
		fdpass_close(fds, r->n_fds);
		err = -EPROTO;
	}
	return err;
}

/* Logs what went wrong, too. */
static int call_log(struct agent *a, struct agent_req *req, struct agent_reply *r, int fds[FDPASS_MAX], unsigned want)
{
	int err = call_fds(a, req, r, fds, want);

	if (!err)
		return 0;
	r->text[sizeof(r->text) - 1] = '\0';
	if (err == r->err && r->text[0])
		log_err("%s", r->text);
	else
		log_err("Request %u to the namespace agent failed: %s", req->head.type, strerror(-err));
	return err;
}

int agent_open_tap(struct agent *a, const char *name, bool vnet, struct tun *ret_tun)
{
	struct agent_req req = { .head.type = AGENT_OPEN_TAP, .tap.vnet = vnet };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err;

	if (strnlen(name, AGENT_NAME_MAX) == AGENT_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(req.tap.name, name, strlen(name));
	err = call_log(a, &req, &r, fds, 1);
	if (err)
		return err;
	*ret_tun = (struct tun){ .fd = fds[0], .vnet_hdr_len = r.tap.vnet_hdr_len, .offloads = r.tap.offloads };
	return 0;
}

int agent_config(struct agent *a, const struct nsconf *c)
{
	struct agent_req req = { .head.type = AGENT_CONFIG };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err;

	memcpy(&req.config, c, sizeof(*c));
	err = call_fds(a, &req, &r, fds, 0);
	if (err != r.err) {
		log_err("Couldn't set up the interface in the namespace: %s", strerror(-err));
		return err;
	}
	nsconf_log(c, &r.config);
	return err;
}

int agent_annex(struct agent *a, const struct annex_conf *c, int net_fd, struct annex_result *ret_result, struct annex_fds *ret_fds)
{
	struct agent_req req = { .head.type = AGENT_ANNEX, .annex = *c };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err = request_send(a, &req, net_fd, &req.head.cookie);

	if (!err)
		err = reply_wait(a, &req.head, &r, fds);
	*ret_result = r.annex;
	if (err)
		return err;
	if (r.n_fds != (c->v6 ? 3 : 2)) {
		fdpass_close(fds, r.n_fds);
		return -EPROTO;
	}
	*ret_fds = (struct annex_fds){ .tap = fds[0], .raw = { fds[1], c->v6 ? fds[2] : -1 } };
	return 0;
}

/* For the one descriptor that is all of the answer. */
static int call_for_fd(struct agent *a, enum agent_type type, int *ret_fd)
{
	struct agent_req req = { .head.type = type };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err = call_log(a, &req, &r, fds, 1);

	if (!err)
		*ret_fd = fds[0];
	return err;
}

int agent_diag(struct agent *a, int *ret_fd)
{
	return call_for_fd(a, AGENT_DIAG, ret_fd);
}

int agent_links(struct agent *a, int *ret_fd)
{
	return call_for_fd(a, AGENT_LINKS, ret_fd);
}

int agent_seal(struct agent *a, const struct helper_seal *s)
{
	struct agent_req req = { .head.type = AGENT_SEAL, .seal = *s };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];

	return call_log(a, &req, &r, fds, 0);
}

/* --- later --- */

int agent_leave(struct agent *a)
{
	struct agent_req req = { .head.type = AGENT_LEAVE };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];

	return call_fds(a, &req, &r, fds, 0);
}

int agent_listen(struct agent *a, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	struct agent_req req = { .head.type = AGENT_LISTEN, .listen = *s };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err = call_fds(a, &req, &r, fds, 1);

	if (err)
		return err;
	*ret_fd = fds[0];
	*ret_v6 = r.v6;
	return 0;
}
