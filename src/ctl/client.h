/* SPDX-License-Identifier: MIT */
/* The client's half of the control socket (docs/control.md): it waits, as long as it takes. */
#pragma once

#include <jansson.h>

#include "base/defs.h"

#define CTL_CLIENT_LINE (UINT32_C(512) << 10) /* longest reply, and some more */

struct ctl_client {
	int fd;
	uint32_t pos, len; /* what of buf has not been looked at */
	char buf[CTL_CLIENT_LINE];
};

/* -errno as for connect(2); -ENAMETOOLONG. */
MUST_USE int ctl_client_open(struct ctl_client *c, const char *path);
void ctl_client_close(struct ctl_client *c);

/* Sends a request; fd, if it isn't -1, goes with it. -errno. */
MUST_USE int ctl_client_send(struct ctl_client *c, const json_t *request, int fd);

/* The next reply or event, the caller's. -EPIPE: the server has gone; -EPROTO: it speaks something else. */
MUST_USE int ctl_client_recv(struct ctl_client *c, json_t **ret_msg);
