/* SPDX-License-Identifier: MIT */
#include "os/ident.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "os/userdb.h"

#define NOBODY_FALLBACK 65534

/* user_namespaces(7): only the initial one maps all IDs to themselves. Without /proc, be careful and think that it is. */
static bool userns_is_initial(void)
{
	unsigned inside = 0, outside = 0, count = 0;
	FILE *f = fopen("/proc/self/uid_map", "re");
	int n;

	if (!f)
		return true;
	n = fscanf(f, "%u %u %u", &inside, &outside, &count);
	fclose(f);
	return n == 3 && !inside && !outside && count == UINT32_MAX;
}

static void nobody_find(uid_t *ret_uid, gid_t *ret_gid)
{
	if (userdb_user("nobody", ret_uid, ret_gid))
		*ret_uid = *ret_gid = NOBODY_FALLBACK;
}

static int ids_set(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	return 0;
}

static bool is_root(void)
{
	return !geteuid() && userns_is_initial();
}

void ident_target(const struct ident_conf *c, uid_t *ret_uid, gid_t *ret_gid)
{
	*ret_uid = geteuid();
	*ret_gid = getegid();
	if (c->have_runas) {
		*ret_uid = c->uid;
		*ret_gid = c->gid;
	} else if (is_root()) {
		nobody_find(ret_uid, ret_gid);
	}
}

/*
 * A capability counts for what belongs to the user namespace that we are in: here for a network namespace that may be that of another,
 * further out. The kernel doesn't show us one that is not below ours. Where nothing can be told, be careful and keep it.
 */
static bool net_is_ours(void)
{
	int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int owner = net >= 0 ? ioctl(net, NS_GET_USERNS) : -1;
	bool ours = owner >= 0 || net < 0 || errno != EPERM;

	if (owner >= 0)
		close(owner);
	if (net >= 0)
		close(net);
	return ours;
}

int ident_plan(const struct ident_conf *c, struct ident *ret_id)
{
	struct ident id = { .change = is_root() };

	ident_target(c, &id.uid, &id.gid);
	if (!id.change && (id.uid != geteuid() || id.gid != getegid()))
		return -EPERM;
	if (id.change && !c->have_runas)
		log_warn("Started as root, will change to nobody.");
	if (capng_get_caps_process())
		return -EPERM;
	id.keep_bind = capng_have_capability(CAPNG_PERMITTED, CAP_NET_BIND_SERVICE) && net_is_ours();
	id.has_admin = capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
	*ret_id = id;
	return 0;
}

int ident_bounds_drop(void)
{
	if (capng_get_caps_process())
		return -EPERM;
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0;
	capng_clear(CAPNG_SELECT_BOUNDS);
	return capng_apply(CAPNG_SELECT_BOUNDS) ? -EPERM : 0;
}

static int caps_drop(bool keep_bind)
{
	if (capng_get_caps_process())
		return -EPERM;
	capng_clear(CAPNG_SELECT_CAPS);
	if (keep_bind && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_BIND_SERVICE))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

int ident_drop(const struct ident *id)
{
	int err;

	/* Otherwise the change of user would take all capabilities away. */
	if (prctl(PR_SET_KEEPCAPS, 1L))
		return -errno;
	err = ident_bounds_drop();
	if (!err && id->change)
		err = ids_set(id->uid, id->gid);
	if (!err)
		err = caps_drop(id->keep_bind);
	(void)prctl(PR_SET_KEEPCAPS, 0L);
	if (err)
		return err;
	return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) ? -errno : 0;
}
