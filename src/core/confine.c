/* SPDX-License-Identifier: MIT */
#include "core/confine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "core/calls.h"
#include "os/box.h"

#define NAMES_MAX 64
#define AND_ROOT " and empty root" /* which takes the one for mounts */
#define KILL_RULES 4

static void refused_log(const char *layer, int err, const char *restore)
{
	log_warn("Less confined, without %s: %s; %s", layer, strerror(-err), restore);
}

static const char *namespace_restore(int err)
{
	switch (-err) {
	case ENOSPC:
	case EUSERS:
		return "a limit in /proc/sys/user, here or in a namespace around, has to be raised";
	case EINVAL:
	case ENOSYS:
		return "this takes a kernel that has them";
	default:
		return "they have to be allowed by sysctls (user namespaces), AppArmor or SELinux, or the filter of the container, and outside of chroot";
	}
}

static const char *root_restore(int err)
{
	return err == -EINVAL
		       ? "--chroot-fallback hides the files of the host in another way"
		       : "pivot_root() and mount() have to be allowed by AppArmor or SELinux, or the filter of the container";
}

static const char *landlock_restore(int err)
{
	return err == -EOPNOTSUPP ? "the kernel has to be started with lsm=landlock,..."
				  : "this takes Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and a container whose filter allows it";
}

static const char *filter_restore(int err)
{
	return err == -EINVAL || err == -ENOSYS ? "this takes a kernel with CONFIG_SECCOMP_FILTER"
						: "seccomp() or prctl() has to be allowed by the filter of the container";
}

/* Which of its namespaces the process has got. */
struct spaces {
	bool want_pids; /* before: a daemon will be born anew, and only so one can be had of PIDs */
	bool mounts, pids;
};

/* Those of the namespaces that take CAP_SYS_ADMIN. */
static void spaces_enter(struct spaces *s)
{
	static const char *const name[BOX_NS_KINDS] = {
		[BOX_NS_MOUNT] = "mount", [BOX_NS_IPC] = "IPC", [BOX_NS_UTS] = "UTS", [BOX_NS_PID] = "PID"
	};
	char names[NAMES_MAX] = "";
	int first = 0;

	for (unsigned kind = BOX_NS_MOUNT; kind < (s->want_pids ? BOX_NS_KINDS : BOX_NS_PID); kind++) {
		size_t at = strlen(names);
		int err = box_unshare((enum box_ns)kind);

		if (!err) {
			s->mounts |= kind == BOX_NS_MOUNT;
			s->pids |= kind == BOX_NS_PID;
			continue;
		}
		first = first ? first : err;
		snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "", name[kind]);
	}
	if (first) {
		char layer[NAMES_MAX + 32];

		snprintf(layer, sizeof(layer), "%s namespace%s", names, s->mounts ? "" : AND_ROOT);
		refused_log(layer, first, namespace_restore(first));
	}
}

static void root_enter(bool chroot_fallback)
{
	int err = box_root(chroot_fallback);

	if (err)
		refused_log("empty root", err, root_restore(err));
}

/* In a user namespace there are all capabilities again, and the rest can be had with them. */
static int user_enter(struct ident *id, bool inside, bool chroot_fallback, struct spaces *s)
{
	uid_t uid = geteuid();
	int err = box_unshare(BOX_NS_USER);

	if (err) {
		const char *all =
			s->want_pids ? "user, mount, IPC, UTS, PID namespace" AND_ROOT : "user, mount, IPC, UTS namespace" AND_ROOT;

		refused_log(inside ? "user namespace" : all, err, namespace_restore(err));
		return 0;
	}
	err = box_map_user(uid);
	if (err)
		log_debug("Our user can't be told from others: %s", strerror(-err));
	if (!inside)
		spaces_enter(s);
	if (!inside && s->mounts)
		root_enter(chroot_fallback);
	id->change = false;
	return ident_drop(id);
}

int confine_enter(struct ident *id, const struct conf *c, bool *ret_unborn)
{
	struct spaces s = { .want_pids = !c->foreground };
	bool inside = id->has_admin;
	int err;

	if (inside)
		spaces_enter(&s);
	if (inside && s.mounts)
		root_enter(c->chroot_fallback);
	err = ident_drop(id);
	if (!err && !id->keep_bind)
		err = user_enter(id, inside, c->chroot_fallback, &s);
	else if (!err && !inside)
		refused_log("namespaces" AND_ROOT, -EPERM,
			    "they would take CAP_NET_BIND_SERVICE away, which was given without CAP_SYS_ADMIN");
	if (err)
		return err;
	err = box_memory();
	if (err)
		refused_log("closed memory", err, "prctl() has to be allowed");
	*ret_unborn = s.pids;
	return 0;
}

bool confine_reborn(struct daemon *d)
{
	int err = daemon_reborn(d);

	if (err)
		refused_log("PID namespace", err, "one process more has to be allowed (RLIMIT_NPROC, or pids.max of a cgroup)");
	return !err;
}

/* To these, and nobody else: 0 and negative numbers would be groups of processes. */
static size_t kill_rules(const struct pasta *p, const struct helper *host, struct syscall_rule ret_rule[KILL_RULES])
{
	pid_t agent[2];
	size_t n = 0;

	if (host->pid > 0)
		ret_rule[n++] = (struct syscall_rule){ "kill",
						       "the end of the host agent",
						       { SYSCALL_IS(0, host->pid), SYSCALL_IS(1, SIGKILL) } };
	if (!p)
		return n;
	agent[0] = p->agent.h.pid;
	agent[1] = p->annex.h.pid;
	for (size_t i = 0; i < ARRAY_SIZE(agent); i++) {
		if (agent[i] > 0)
			ret_rule[n++] = (struct syscall_rule){ "kill",
							       "the end of an agent",
							       { SYSCALL_IS(0, agent[i]), SYSCALL_IS(1, SIGKILL) } };
	}
	if (p->spawn.pid > 0)
		ret_rule[n++] = (struct syscall_rule){ "kill",
						       "a signal for the command, without a pidfd",
						       { SYSCALL_IS(0, p->spawn.pid) } };
	return n;
}

/* Forwards lead to UNIX sockets, or may at some time. */
static bool may_lead_to_path(const struct conf *c)
{
	return conf_has_control(c) || fwd_table_has(&c->out_rules, FWD_TO_PATH);
}

int confine_calls(enum confine_phase phase, const struct pasta *pasta, const struct helper *host)
{
	const struct syscall_table *tables[] = { &calls_run, NULL, NULL, NULL, NULL };
	struct syscall_rule rule[KILL_RULES];
	struct syscall_table kills = { rule, 0 };
	size_t n = 1;
	int err;

	kills.n = kill_rules(pasta, host, rule);
	tables[n++] = &kills;
	if (pasta)
		tables[n++] = &calls_pasta;
	if (pasta && may_lead_to_path(pasta->conf))
		tables[n++] = &calls_paths;
	if (phase == CONFINE_START)
		tables[n++] = &calls_start;
	err = sysfilter_load(tables, n);
	if (err)
		refused_log("filter of system calls", err, filter_restore(err));
	return err;
}

/*
 * Ports that come later are those of services in the namespace, what somebody asks for at the control socket, or, in an annex, those of
 * everybody that a socket stands in for.
 */
static bool ports_come(const struct conf *c, const struct pasta *pasta)
{
	return conf_has_control(c) || (pasta && pasta->annex.h.fd >= 0) || fwd_table_has(&c->in, FWD_SCAN);
}

void confine_files(const struct conf *c, const struct pasta *pasta)
{
	unsigned refuse = ports_come(c, pasta) ? 0 : BOX_TCP_PORTS;
	int err, lost = 0;

	/* pasta goes on sending signals to its command, and joins connections of the namespace's loopback with or without a translator. */
	if (!pasta)
		refuse |= BOX_SIGNALS | (c->tcp ? 0 : BOX_TCP_CONNECT);
	err = box_landlock(refuse, NULL, 0, &lost);
	if (err)
		refused_log("Landlock", err, landlock_restore(err));
	else if (lost)
		refused_log("Landlock for TCP ports", lost, landlock_restore(lost));
}
