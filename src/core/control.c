/* SPDX-License-Identifier: MIT */
#include "core/control.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/change.h"
#include "core/engine.h"
#include "ctl/arena.h"
#include "os/sock.h"

#define RULE_STRLEN 160

struct control {
	struct engine *e;
	struct ctl_server *server;
	struct ctl_rules rules;
	struct change change;
	struct ctl_plan plan;
	struct ctl_who asker; /* of the change that is under way, */
	int fd; /* and what came with it, until a rule has it; -1: nothing */
};

static enum ctl_result no_memory(struct ctl_call *call)
{
	return ctl_fail(call, "too-big", "The reply needs too much memory");
}

/* --- hello, log, capture --- */

static enum ctl_result do_hello(struct control *c, struct ctl_call *call)
{
	bool pasta = c->e->pasta;
	json_t *tables = pasta ? json_pack("[s, s]", "in", "out") : json_pack("[s]", "in");
	int err = json_object_set_new(call->reply, "protocol", json_integer(CTL_PROTOCOL));

	err |= json_object_set_new(call->reply, "program", json_string(pasta ? "pasta" : "passt"));
	err |= json_object_set_new(call->reply, "version", json_string(VERSION));
	err |= json_object_set_new(call->reply, "pid", json_integer(c->e->pid));
	err |= json_object_set_new(call->reply, "tables", tables);
	return err ? no_memory(call) : CTL_REPLY;
}

static enum ctl_result do_log(struct control *c, struct ctl_call *call)
{
	static const char *const name[] = {
		[LOG_LVL_ERR] = "error",   [LOG_LVL_WARN] = "warning", [LOG_LVL_INFO] = "info",
		[LOG_LVL_DEBUG] = "debug", [LOG_LVL_TRACE] = "trace",
	};
	const json_t *level = json_object_get(call->args, "level");
	const char *want = json_string_value(level);
	unsigned i = 0;

	if (json_object_set_new(call->reply, "level", json_string(name[log_get_level()])))
		return no_memory(call);
	while (want && i < ARRAY_SIZE(name) && strcmp(want, name[i]))
		i++;
	if (level && (!want || i == ARRAY_SIZE(name)))
		return ctl_fail(call, "bad-argument", "level has to be error, warning, info, debug or trace");
	if (level)
		log_set_level(i);
	return CTL_REPLY;
}

static enum ctl_result capture_start(struct control *c, struct ctl_call *call)
{
	int err;

	if (call->fd < 0)
		return ctl_fail(call, "bad-argument", "There is no descriptor of a file with the request");
	err = engine_capture_start(c->e, call->fd);
	if (err == -EBUSY)
		return ctl_fail(call, "not-possible", "There is a capture already");
	if (err == -EINVAL)
		return ctl_fail(call, "bad-argument", "The capture has to go to a regular file that is open for writing");
	if (err)
		return ctl_fail(call, "failed", "Couldn't start the capture: %s", strerror(-err));
	call->fd = -1;
	return CTL_REPLY;
}

static enum ctl_result do_capture(struct control *c, struct ctl_call *call)
{
	const char *action = json_string_value(json_object_get(call->args, "action"));

	if (action && !strcmp(action, "start"))
		return capture_start(c, call);
	if (!action || strcmp(action, "stop"))
		return ctl_fail(call, "bad-argument", "action has to be start or stop");
	if (engine_capture_stop(c->e))
		return ctl_fail(call, "not-possible", "There is no capture");
	return CTL_REPLY;
}

static enum ctl_result do_subscribe(struct control *c, struct ctl_call *call)
{
	call->subscribe = true;
	return CTL_REPLY;
}

static enum ctl_result do_flows(struct control *c, struct ctl_call *call)
{
	return control_flows(c->e, call);
}

static enum ctl_result do_counters(struct control *c, struct ctl_call *call)
{
	return control_counters(c->e, call);
}

/* --- forwards --- */

static struct listeners *listeners_of(const struct control *c, enum ctl_table t)
{
	if (t == CTL_IN)
		return &c->e->listeners;
	return c->e->pasta ? &c->e->ns_listeners : NULL;
}

static const char *proto_name(const struct fwd_rule *r)
{
	return r->proto == IPPROTO_TCP ? "tcp" : "udp";
}

/* NULL: no memory. */
static json_t *rule_json(enum ctl_table t, const struct fwd_rule *r)
{
	char spec[RULE_STRLEN];

	return json_pack("{s:s, s:s, s:s}", "table", ctl_table_name(t), "proto", proto_name(r), "spec",
			 fwd_rule_fmt(r, spec, sizeof(spec)));
}

static unsigned ports_open(const struct listeners *ls, unsigned rule)
{
	const struct listener *l = &ls->l[ls->first[rule]];
	unsigned ports = fwd_rule_ports(&ls->table->rule[rule]), n = 0;

	for (unsigned i = 0; i < ports; i++)
		n += l[i].fd >= 0;
	return n;
}

static int forward_put(json_t *list, enum ctl_table t, const struct listeners *ls, unsigned rule)
{
	const struct fwd_rule *r = &ls->table->rule[rule];
	unsigned open = ports_open(ls, rule), ports = fwd_rule_ports(r);
	const char *state = r->flags & FWD_SCAN ? "auto" : open == ports ? "bound" : "partly";
	json_t *j = rule_json(t, r);
	int err;

	err = json_object_set_new(j, "state", json_string(state));
	err |= json_object_set_new(j, "ports", json_integer(ports));
	err |= json_object_set_new(j, "bound", json_integer(open));
	return json_array_append_new(list, j) | err;
}

static enum ctl_result do_forwards(struct control *c, struct ctl_call *call)
{
	json_t *list = json_array();
	int err = 0;

	for (unsigned t = 0; t < CTL_TABLES; t++) {
		const struct listeners *ls = listeners_of(c, t);

		for (unsigned i = 0; ls && i < ls->table->n; i++) {
			if (fwd_rule_ports(&ls->table->rule[i]))
				err |= forward_put(list, t, ls, i);
		}
	}
	err |= json_object_set_new(call->reply, "forwards", list);
	return err ? no_memory(call) : CTL_REPLY;
}

/* --- changes --- */

/* What a rule of a UNIX socket needs, and we can't open any more: it has to have come with the request. */
static int path_take(struct control *c, struct listeners *ls, unsigned rule)
{
	const struct fwd_rule *r = &ls->table->rule[rule];
	int fd = c->fd;

	if (r->flags & FWD_TO_PATH && listener_find(ls, rule, r->first)->dir >= 0)
		return 0; /* asked before, when the agent had no time */
	if (fd < 0)
		return -EBADF;
	c->fd = -1;
	return r->flags & FWD_AT_PATH ? listener_take_path(ls, rule, fd) : listener_take_dir(ls, rule, fd);
}

static int port_open(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	struct control *c = ctx;
	struct listeners *ls = listeners_of(c, t);
	int err;

	if (ls->table->rule[rule].flags & (FWD_AT_PATH | FWD_TO_PATH) && path_take(c, ls, rule))
		return -EBADF;
	if (ls->table->rule[rule].flags & FWD_AT_PATH)
		return 0;
	if (c->e->fwd)
		return pasta_fwd_port_open(c->e->fwd, t == CTL_IN ? AUTO_IN : AUTO_OUT, rule, port);
	err = listener_open(ls, rule, port);
	/* The guest may have sent from this port, and have it on the host, too. */
	if (err == -EADDRINUSE && c->e->udp && ls->table->rule[rule].proto == IPPROTO_UDP && udp_port_release(c->e->udp, port))
		err = listener_open(ls, rule, port);
	return err;
}

static void port_close(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	struct control *c = ctx;

	if (c->e->fwd)
		pasta_fwd_port_close(c->e->fwd, t == CTL_IN ? AUTO_IN : AUTO_OUT, rule, port);
	else
		listener_close(listeners_of(c, t), rule, port);
}

static void port_release(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	struct control *c = ctx;

	if (c->e->fwd)
		pasta_fwd_port_release(c->e->fwd, t == CTL_IN ? AUTO_IN : AUTO_OUT, rule, port);
}

static void rule_added(void *ctx, enum ctl_table t, unsigned rule)
{
	struct control *c = ctx;

	if (t == CTL_IN && c->e->udp)
		udp_rule_added(c->e->udp, rule);
	if (c->e->fwd)
		pasta_fwd_rule_added(c->e->fwd, t == CTL_IN ? AUTO_IN : AUTO_OUT, rule);
}

static void rule_gone(void *ctx, enum ctl_table t, unsigned rule)
{
	struct control *c = ctx;

	if (t == CTL_IN && c->e->udp)
		udp_rule_gone(c->e->udp, rule);
	if (c->e->fwd)
		pasta_fwd_rule_gone(c->e->fwd, t == CTL_IN ? AUTO_IN : AUTO_OUT, rule);
}

static const char *err_name(int err)
{
	static const struct {
		int err;
		const char *name;
	} known[] = {
#define ERR(e) { e, #e }
		ERR(EADDRINUSE), ERR(EADDRNOTAVAIL), ERR(EACCES),       ERR(EPERM),  ERR(EMFILE), ERR(ENFILE), ERR(ENOBUFS),
		ERR(ENOMEM),     ERR(ENODEV),        ERR(EAFNOSUPPORT), ERR(EINVAL), ERR(E2BIG),  ERR(ENOSPC), ERR(EBADF),
#undef ERR
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].err == err)
			return known[i].name;
	}
	return "unknown";
}

static int result_put(json_t *list, const struct ctl_item *it, const struct change_result *r)
{
	static const char *const name[] = {
		[CHANGE_NONE] = "undone",   [CHANGE_BOUND] = "bound",   [CHANGE_PARTLY] = "partly",
		[CHANGE_AUTO] = "auto",     [CHANGE_KEPT] = "kept",     [CHANGE_REMOVED] = "removed",
		[CHANGE_FAILED] = "failed", [CHANGE_UNDONE] = "undone", [CHANGE_LOST] = "lost",
	};
	json_t *j = rule_json(it->table, &it->rule);
	int err;

	err = json_object_set_new(j, "verdict", json_string(name[r->verdict]));
	if (r->verdict == CHANGE_FAILED || r->verdict == CHANGE_LOST) {
		err |= json_object_set_new(j, "port", json_integer(r->port));
		err |= json_object_set_new(j, "errno", json_string(err_name(-r->err)));
		err |= json_object_set_new(j, "reason", json_string(strerror(-r->err)));
	}
	return json_array_append_new(list, j) | err;
}

static void change_done(void *ctx, bool ok)
{
	struct control *c = ctx;
	json_t *reply = json_object(), *list = json_array();
	int err = 0;

	sock_close(c->fd);
	c->fd = -1;
	for (unsigned i = 0; i < c->plan.n; i++)
		err |= result_put(list, &c->plan.item[i], &c->change.result[i]);
	err |= json_object_set_new(reply, "results", list);
	if (err)
		json_object_clear(reply);
	ctl_answer(c->server, &c->asker, ok ? NULL : "failed", "Couldn't listen on requested ports", reply);
	if (ok)
		ctl_event(c->server, "forwards", NULL);
	ctl_retry(c->server);
}

static enum ctl_result do_change(struct control *c, struct ctl_call *call)
{
	const struct fwd_table *const now[] = { [CTL_IN] = &c->e->in, [CTL_OUT] = c->e->pasta ? &c->e->out : NULL };

	if (change_busy(&c->change))
		return CTL_AGAIN;
	if (ctl_plan(&c->rules, now, json_object_get(call->args, "steps"), &c->plan)) {
		if (c->plan.step >= 0)
			(void)json_object_set_new(call->reply, "step", json_integer(c->plan.step));
		return ctl_fail(call, c->plan.error, "%s", c->plan.message);
	}
	c->asker = call->who;
	c->fd = call->fd;
	call->fd = -1;
	return change_start(&c->change, &c->plan) ? CTL_AGAIN : CTL_LATER;
}

void control_port_opened(void *ctx, unsigned rule, uint16_t port, int err)
{
	const struct engine *e = ctx;

	if (e->control)
		change_opened(&e->control->change, CTL_OUT, rule, port, err);
}

/* --- all of them --- */

static enum ctl_result on_request(void *ctx, struct ctl_call *call)
{
	static const struct {
		const char *name;
		enum ctl_result (*fn)(struct control *c, struct ctl_call *call);
	} request[] = {
		{ "hello", do_hello }, { "forwards", do_forwards }, { "change", do_change },   { "flows", do_flows },
		{ "log", do_log },     { "counters", do_counters }, { "capture", do_capture }, { "subscribe", do_subscribe },
	};

	for (size_t i = 0; i < ARRAY_SIZE(request); i++) {
		if (!strcmp(call->name, request[i].name))
			return request[i].fn(ctx, call);
	}
	return ctl_fail(call, "unknown-request", "No such request: %s", call->name);
}

void control_event(struct control *c, const char *name)
{
	if (c)
		ctl_event(c->server, name, NULL);
}

void control_exit(struct control *c, int status)
{
	if (c)
		ctl_event(c->server, "exit", json_pack("{s:i}", "status", status));
}

/* --- life --- */

int control_listen(const char *path, struct control_fds *ret_fds)
{
	int err = unixpath_listen_private(path, &ret_fds->listen);

	/* Without it, only what the peer's number tells counts. */
	if (!err)
		ret_fds->file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (err == -EADDRINUSE)
		log_err("Control socket path %s already in use", path);
	else if (err)
		log_err("Control socket %s: %s", path, strerror(-err));
	return err;
}

void control_passed(int fd, struct control_fds *ret_fds)
{
	char path[UNIXPATH_MAX];

	unixpath_name(fd, path);
	ret_fds->listen = fd;
	ret_fds->file = path[0] ? open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
}

int control_new(struct engine *e, const struct control_fds *fds, struct control **ret_c)
{
	const struct conf *conf = e->conf;
	struct control *c = calloc(1, sizeof(*c));
	struct change_conf cc = {
		.loop = &e->loop,
		.ls = { &e->listeners, e->pasta ? &e->ns_listeners : NULL },
		.open = port_open,
		.close = port_close,
		.release = port_release,
		.added = rule_added,
		.gone = rule_gone,
		.done = change_done,
		.ctx = c,
	};
	struct ctl_server_conf sc = { fds->listen, fds->file, on_request, c };
	int err;

	if (!c)
		return -ENOMEM;
	c->e = e;
	c->fd = -1;
	c->rules = (struct ctl_rules){ conf->v4, conf->v6, e->pasta, conf->tcp, conf->udp, conf->eph_first, conf->eph_last };
	change_init(&c->change, &cc);
	err = ctl_arena_open();
	if (!err)
		err = ctl_server_new(&e->loop, &sc, &c->server);
	if (err) {
		free(c);
		return err;
	}
	*ret_c = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	change_stop(&c->change);
	sock_close(c->fd);
	ctl_server_free(c->server);
	c->e->control = NULL;
	free(c);
}
