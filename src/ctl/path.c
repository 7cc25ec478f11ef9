/* SPDX-License-Identifier: MIT */
#include "ctl/path.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/unixpath.h"

/* The rule of a specifier that names a UNIX socket. Others, and what makes no sense, are the server's business. */
static bool rule_of(const char *spec, bool outwards, struct fwd_rule *ret_rule)
{
	struct fwd_ctx c = { .opt = "-t", .proto = IPPROTO_TCP, .v4 = true, .v6 = true, .pasta = true, .outwards = outwards };
	struct fwd_table *t = calloc(1, sizeof(*t));
	char why[FWD_ERR_LEN];
	bool found = t && !fwd_parse(&c, spec, t, why) && t->rule[0].flags & (FWD_AT_PATH | FWD_TO_PATH);

	if (found)
		*ret_rule = t->rule[0];
	free(t);
	return found;
}

int ctl_path_open(struct ctl_path *p, const char *spec, bool outwards)
{
	struct fwd_rule r;

	if (!rule_of(spec, outwards, &r))
		return 0;
	if (p->rule.path[0])
		return -EALREADY;
	p->rule = r;
	p->err = outwards ? unixpath_folder(r.path, &p->fd) : unixpath_listen_private(r.path, &p->fd);
	return 0;
}

void ctl_path_close(struct ctl_path *p, bool made)
{
	if (p->fd < 0)
		return;
	close(p->fd);
	p->fd = -1;
	if (!made && p->rule.flags & FWD_AT_PATH)
		(void)!unlink(p->rule.path);
}

int ctl_path_remove(const struct ctl_path *p, const char *spec)
{
	struct fwd_rule r;

	if (!rule_of(spec, false, &r) || (p->rule.flags & FWD_AT_PATH && !strcmp(p->rule.path, r.path)))
		return 0;
	return unixpath_sweep(r.path);
}
