/* SPDX-License-Identifier: MIT */
/*
 * Users and groups by name: what nsswitch.conf(5) names, or in a program without libraries, where those modules can't be loaded, the files
 * passwd(5) and group(5). -ENOENT: there is none.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

MUST_USE int userdb_user(const char *name, uid_t *ret_uid, gid_t *ret_gid);
MUST_USE int userdb_group(const char *name, gid_t *ret_gid);

/* The group of a user by number. */
MUST_USE int userdb_group_of(uid_t uid, gid_t *ret_gid);

/* The same from these files. A user is looked for by name, or if that is NULL by *uid; what is found is written to *uid, too. */
MUST_USE int userdb_file_user(const char *path, const char *name, uid_t *uid, gid_t *ret_gid);
MUST_USE int userdb_file_group(const char *path, const char *name, gid_t *ret_gid);
