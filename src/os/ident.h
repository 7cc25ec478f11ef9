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

/* What is to be done, found while /proc and the user database are in sight. */
struct ident {
	bool change; /* to uid and gid: we are root, and may */
	uid_t uid;
	gid_t gid;
	bool keep_bind; /* CAP_NET_BIND_SERVICE is there, and counts for the network namespace that we are in */
	bool has_admin; /* CAP_SYS_ADMIN is there */
};

/* Whom ident_drop() will make us. */
void ident_target(const struct ident_conf *c, uid_t *ret_uid, gid_t *ret_gid);

/*
 * Root of the initial user namespace becomes nobody, with a warning, or the user of --runas. Root of another user namespace and
 * ordinary users stay who they are; --runas is then refused with -EPERM unless it asks for that.
 */
MUST_USE int ident_plan(const struct ident_conf *c, struct ident *ret_id);

/*
 * Empties the bounding set. It takes CAP_SETPCAP, without which there is nothing that the set could still give, and which goes with a
 * change of user.
 */
MUST_USE int ident_bounds_drop(void);

/*
 * Becomes that user. Of all capabilities only CAP_NET_BIND_SERVICE is kept, if keep_bind, and no new privileges can be had
 * (PR_SET_NO_NEW_PRIVS). Once more after a new user namespace was entered, which gives all capabilities in there. Needs no files.
 */
MUST_USE int ident_drop(const struct ident *id);
