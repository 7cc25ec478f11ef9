/* SPDX-License-Identifier: MIT */
/*
 * Sockets that a service manager has opened for us (sd_listen_fds(3)): the environment says how many, they follow the standard streams. That
 * is all that the protocol is, so that no library is needed for it.
 */
#pragma once

#include "os/bound.h"

#define PASSED_FIRST 3
#define PASSED_MAX 256

enum passed_kind {
	PASSED_UNIX, /* of any type; listens, or is connected, or, of datagrams, is bound */
	PASSED_CONTROL, /* a listening UNIX stream socket with the name "control" */
	PASSED_PORT, /* of UDP, or of TCP and listening */
};

struct passed_socket {
	enum passed_kind kind;
	int type; /* SOCK_* */
	bool listens;
	struct bound_spec at; /* of PASSED_PORT: as bound_open() would have been asked for it */
};

/*
 * How many there are, numbered from PASSED_FIRST on: LISTEN_FDS, if LISTEN_PID is this process, else 0. Sets close-on-exec on them, and takes
 * these variables out of the environment: before the first fork. *ret_names: LISTEN_FDNAMES, or NULL. -EINVAL: the number makes no
 * sense; -EBADF: there is no such descriptor.
 */
MUST_USE int passed_count(unsigned *ret_n, char **ret_names);

/* What socket number i is; names as above. -EPROTONOSUPPORT: nothing that we have use for; -ENOTSOCK. It does not block any more. */
MUST_USE int passed_look(unsigned i, const char *names, struct passed_socket *ret_s);
