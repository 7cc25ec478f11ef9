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
#define KILL_RULES 2

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

/* Those of the namespaces that take CAP_SYS_ADMIN. True if there is one for mounts. */
static bool spaces_enter(void)
{
	static const char *const name[BOX_NS_KINDS] = { [BOX_NS_MOUNT] = "mount", [BOX_NS_IPC] = "IPC", [BOX_NS_UTS] = "UTS" };
	bool mounts = false;
	char names[NAMES_MAX] = "";
	int first = 0;

	for (unsigned kind = BOX_NS_MOUNT; kind < BOX_NS_KINDS; kind++) {
		size_t at = strlen(names);
		int err = box_unshare((enum box_ns)kind);

		if (!err) {
			mounts |= kind == BOX_NS_MOUNT;
			continue;
		}
		first = first ? first : err;
		snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "", name[kind]);
	}
	if (first) {
		char layer[NAMES_MAX + 32];

		snprintf(layer, sizeof(layer), "%s namespace%s", names, mounts ? "" : AND_ROOT);
		refused_log(layer, first, namespace_restore(first));
	}
	return mounts;
}

static void root_enter(bool chroot_fallback)
{
	int err = box_root(chroot_fallback);

	if (err)
		refused_log("empty root", err, root_restore(err));
}

/* In a user namespace there are all capabilities again, and the rest can be had with them. */
static int user_enter(struct ident *id, bool inside, bool chroot_fallback)
{
	uid_t uid = geteuid();
	int err = box_unshare(BOX_NS_USER);

	if (err) {
		refused_log(inside ? "user namespace" : "user, mount, IPC, UTS namespace" AND_ROOT, err, namespace_restore(err));
		return 0;
	}
	err = box_map_user(uid);
	if (err)
		log_debug("Our user can't be told from others: %s", strerror(-err));
	if (!inside && spaces_enter())
		root_enter(chroot_fallback);
	id->change = false;
	return ident_drop(id);
}

int confine_enter(struct ident *id, bool chroot_fallback)
{
	bool inside = id->has_admin;
	int err;

	if (inside && spaces_enter())
		root_enter(chroot_fallback);
	err = ident_drop(id);
	if (!err && !id->keep_bind)
		err = user_enter(id, inside, chroot_fallback);
	else if (!err && !inside)
		refused_log("namespaces" AND_ROOT, -EPERM,
			    "they would take CAP_NET_BIND_SERVICE away, which was given without CAP_SYS_ADMIN");
	if (err)
		return err;
	err = box_memory();
	if (err)
		refused_log("closed memory", err, "prctl() has to be allowed");
	return 0;
}

/* To these, and nobody else: 0 and negative numbers would be groups of processes. */
static size_t kill_rules(const struct pasta *p, struct syscall_rule ret_rule[KILL_RULES])
{
	size_t n = 0;

	if (p->agent.pid > 0)
		ret_rule[n++] = (struct syscall_rule){ "kill",
						       "the end of the agent",
						       { SYSCALL_IS(0, p->agent.pid), SYSCALL_IS(1, SIGKILL) } };
	if (p->spawn.pid > 0)
		ret_rule[n++] = (struct syscall_rule){ "kill",
						       "a signal for the command, without a pidfd",
						       { SYSCALL_IS(0, p->spawn.pid) } };
	return n;
}

int confine_calls(enum confine_phase phase, const struct pasta *pasta)
{
	const struct syscall_table *tables[] = { &calls_run, NULL, NULL, NULL };
	struct syscall_rule rule[KILL_RULES];
	struct syscall_table kills = { rule, 0 };
	size_t n = 1;
	int err;

	if (pasta) {
		kills.n = kill_rules(pasta, rule);
		tables[n++] = &calls_pasta;
		tables[n++] = &kills;
	}
	if (phase == CONFINE_START)
		tables[n++] = &calls_start;
	err = sysfilter_load(tables, n);
	if (err)
		refused_log("filter of system calls", err, filter_restore(err));
	return err;
}

/* Ports that come later are those of services in the namespace, or what somebody asks for at the control socket. */
static bool ports_come(const struct conf *c)
{
	bool come = c->conf_path[0];

	for (unsigned i = 0; i < c->in.n; i++)
		come |= c->in.rule[i].flags & FWD_SCAN;
	return come;
}

void confine_files(const struct conf *c)
{
	bool pasta = c->mode == CONF_PASTA;
	unsigned refuse = ports_come(c) ? 0 : BOX_TCP_PORTS;
	int err;

	/* pasta goes on sending signals to its command, and joins connections of the namespace's loopback with or without a translator. */
	if (!pasta)
		refuse |= BOX_SIGNALS | (c->tcp ? 0 : BOX_TCP_CONNECT);
	err = box_landlock(refuse);

	if (err)
		refused_log("Landlock", err, landlock_restore(err));
}
