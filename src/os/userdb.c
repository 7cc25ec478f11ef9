/* SPDX-License-Identifier: MIT */
#include "os/userdb.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#ifndef STATIC
#define STATIC 0
#endif

#define PASSWD "/etc/passwd"
#define GROUP "/etc/group"

int userdb_file_user(const char *path, const char *name, uid_t *uid, gid_t *ret_gid)
{
	FILE *f = fopen(path, "re");
	const struct passwd *pw;
	int err = -ENOENT;

	if (!f)
		return err;
	while (err && (pw = fgetpwent(f))) {
		if (name ? strcmp(pw->pw_name, name) != 0 : pw->pw_uid != *uid)
			continue;
		*uid = pw->pw_uid;
		*ret_gid = pw->pw_gid;
		err = 0;
	}
	fclose(f);
	return err;
}

int userdb_file_group(const char *path, const char *name, gid_t *ret_gid)
{
	FILE *f = fopen(path, "re");
	const struct group *gr;
	int err = -ENOENT;

	if (!f)
		return err;
	while (err && (gr = fgetgrent(f))) {
		if (strcmp(gr->gr_name, name) != 0)
			continue;
		*ret_gid = gr->gr_gid;
		err = 0;
	}
	fclose(f);
	return err;
}

int userdb_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
	const struct passwd *pw;

	if (STATIC)
		return userdb_file_user(PASSWD, name, ret_uid, ret_gid);
	pw = getpwnam(name);
	if (!pw)
		return -ENOENT;
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

int userdb_group(const char *name, gid_t *ret_gid)
{
	const struct group *gr;

	if (STATIC)
		return userdb_file_group(GROUP, name, ret_gid);
	gr = getgrnam(name);
	if (!gr)
		return -ENOENT;
	*ret_gid = gr->gr_gid;
	return 0;
}

int userdb_group_of(uid_t uid, gid_t *ret_gid)
{
	const struct passwd *pw;

	if (STATIC)
		return userdb_file_user(PASSWD, NULL, &uid, ret_gid);
	pw = getpwuid(uid);
	if (!pw)
		return -ENOENT;
	*ret_gid = pw->pw_gid;
	return 0;
}
