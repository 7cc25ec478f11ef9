/* SPDX-License-Identifier: MIT */
/* Giving up root and capabilities, once everything that needs them is open. */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

struct ident_conf {
	bool have_runas; /* --runas: the user and group to become */
	uid_t uid;
	gid_t gid;
};

/* Whom ident_drop() will make us. */
void ident_target(const struct ident_conf *c, uid_t *ret_uid, gid_t *ret_gid);

/*
 * Root of the initial user namespace becomes nobody, with a warning, or the user of --runas. Root of another user namespace and
 * ordinary users stay who they are; --runas is then refused with -EPERM unless it asks for that. Whoever we are then, of all
 * capabilities only CAP_NET_BIND_SERVICE is kept, if it was there, and no new privileges can be had (PR_SET_NO_NEW_PRIVS).
 */
MUST_USE int ident_drop(const struct ident_conf *c);
