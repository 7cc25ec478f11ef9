/* SPDX-License-Identifier: MIT */
/* From options and host to the configuration: pure but for warnings. Port options are left to derive_ports(). */
#pragma once

#include "conf/conf.h"
#include "conf/discover.h"
#include "conf/opt.h"

#define DERIVE_ERR_LEN 256

/*
 * Fills in all of *ret_conf, which is all zero before, but the forwarding tables: what is not touched takes no memory in any of our
 * processes. -EINVAL, with one line in err, where options contradict each other or the host can't serve one that is explicit (--interface).
 */
MUST_USE int derive(const struct opts *o, const struct host *h, struct conf *ret_conf, char err[DERIVE_ERR_LEN]);

/*
 * Once more, for a host that may have changed: what of c follows it (conf/follow.h), for a configuration of these options. An address that
 * the host has no longer, without another in its place, stays.
 */
void derive_again(const struct opts *o, const struct host *h, struct conf *c);

/*
 * Evaluates the port options into c->in and c->out_rules, for a configuration that is complete otherwise. -EINVAL with one line in err.
 */
MUST_USE int derive_ports(const struct opts *o, const struct host *h, struct conf *c, char err[DERIVE_ERR_LEN]);
