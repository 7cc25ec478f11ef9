/* SPDX-License-Identifier: MIT */
#include "core/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/confine.h"
#include "os/ident.h"
#include "os/notify.h"

static bool is_pasta(const struct conf *c)
{
	return c->mode == CONF_PASTA;
}

static const char *ident_of(const struct conf *c)
{
	return is_pasta(c) ? "pasta" : "passt";
}

static enum log_level level_of(const struct conf *c)
{
	if (c->trace)
		return LOG_LVL_TRACE;
	if (c->debug)
		return LOG_LVL_DEBUG;
	return c->quiet ? LOG_LVL_WARN : LOG_LVL_INFO;
}

static int log_open(struct process *p)
{
	const struct conf *c = p->conf;
	char exe[CONF_PATH_MAX], head[LOGSINK_HEAD_MAX];
	ssize_t n;
	int err;

	if (!c->log_file[0]) {
		err = logsink_syslog(&p->log);
		if (err)
			log_debug("No syslog: %s", strerror(-err));
		return 0;
	}
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[MAX(n, 0)] = '\0';
	if ((size_t)snprintf(head, sizeof(head), "%s " VERSION ": %s", ident_of(c), exe) >= sizeof(head))
		log_debug("Path of the program cut off in the log file");
	err = logsink_file(&p->log, c->log_file, c->log_size, head);
	if (err)
		log_err("Couldn't open log file %s: %s", c->log_file, strerror(-err));
	return err;
}

static void notify_start(struct process *p)
{
	int err = notify_open(&p->notify_fd);

	if (err)
		log_warn("The service manager is not told that we are ready: %s", strerror(-err));
}

void process_stdio(void)
{
	daemon_stdio_open();
}

int process_begin(struct process *p, const struct conf *c)
{
	int err;

	*p = (struct process){ .conf = c, .host.h.fd = -1, .notify_fd = -1 };
	log_set_level(level_of(c));
	logsink_init(&p->log, ident_of(c));
	daemon_init(&p->daemon);

	/* Before the first epoll or signal descriptor: those have to be the child's own. */
	if (!c->foreground) {
		err = daemon_fork(&p->daemon);
		if (err) {
			log_err("Couldn't fork: %s", strerror(-err));
			return err;
		}
	}
	err = log_open(p);
	/* Where there is a command, it is the command that is ready at some time. */
	if (!err && !c->ns.spawn)
		notify_start(p);
	return err;
}

int process_pid_open(struct process *p)
{
	const char *path = p->conf->pid_file;
	int err = path[0] ? daemon_pid_open(&p->daemon, path) : 0;

	if (err)
		log_err("Couldn't open PID file %s: %s", path, strerror(-err));
	return err;
}

static struct ident_conf ident_conf_of(const struct conf *c)
{
	return (struct ident_conf){ .have_runas = c->have_runas, .uid = c->runas_uid, .gid = c->runas_gid };
}

void process_user(const struct process *p, uid_t *ret_uid, gid_t *ret_gid)
{
	struct ident_conf ic = ident_conf_of(p->conf);

	ident_target(&ic, ret_uid, ret_gid);
}

void process_watch(struct process *p, struct conf_source *s)
{
	struct hostwatch_conf hc = { p->conf, s, { UINT32_MAX, UINT32_MAX, !p->conf->foreground } };
	uid_t uid;
	gid_t gid;

	process_user(p, &uid, &gid);
	if (uid != geteuid() || gid != getegid()) {
		hc.seal.uid = uid;
		hc.seal.gid = gid;
	}
	if (!p->conf->ns.splice_only)
		hostwatch_start(&hc, &p->host);
	free(s);
}

/* The same process to others, by another number. The agents are somebody else's children from here on, and out of sight. */
static void reborn(struct process *p, struct pasta *ns)
{
	if (!confine_reborn(&p->daemon))
		return;
	logsink_pid(&p->log, p->daemon.pid);
	helper_orphan(&p->host.h);
	if (!ns)
		return;
	helper_orphan(&ns->agent.h);
	helper_orphan(&ns->annex.h);
}

int process_drop(struct process *p, struct pasta *ns)
{
	struct ident_conf ic = ident_conf_of(p->conf);
	struct ident id;
	bool unborn = false;
	int err = ident_plan(&ic, &id);

	if (!err)
		err = confine_enter(&id, p->conf, &unborn);
	if (err) {
		log_err("Couldn't give up privileges: %s", strerror(-err));
		return err;
	}
	if (unborn)
		reborn(p, ns);
	p->filtered = !confine_calls(CONFINE_START, ns, &p->host.h);
	return 0;
}

void process_confine(struct process *p, const struct pasta *ns)
{
	confine_files(p->conf, ns);
}

int process_pid_write(struct process *p)
{
	int err = daemon_pid_write(&p->daemon);

	if (err)
		log_err("Couldn't write PID file %s: %s", p->conf->pid_file, strerror(-err));
	return err;
}

int process_ready(struct process *p)
{
	int err = daemon_ready(&p->daemon);
	char lines[64];

	if (err) {
		log_err("Couldn't become a daemon: %s", strerror(-err));
		return err;
	}
	snprintf(lines, sizeof(lines), "READY=1\nMAINPID=%i\n", (int)p->daemon.pid);
	notify_send(p->notify_fd, lines);
	if (!p->conf->foreground)
		logsink_stderr_off(&p->log);
	return 0;
}

void process_stopping(const struct process *p)
{
	notify_send(p->notify_fd, "STOPPING=1\n");
}

void process_settle(struct process *p, const struct pasta *ns)
{
	if (p->filtered)
		p->filtered = !confine_calls(CONFINE_RUN, ns, &p->host.h);
}

void process_undo(struct process *p)
{
	if (!p->conf)
		return;
	daemon_pid_unlink(&p->daemon);
	hostwatch_close(&p->host);
}

void process_end(struct process *p)
{
	hostwatch_close(&p->host);
	logsink_fini(&p->log);
}
