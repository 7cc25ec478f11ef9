/* SPDX-License-Identifier: MIT */
/*
 * Events by descriptors that somebody else has as well: eventfd(2), or what else carries numbers of eight bytes. Whether such a one waits
 * is up to whoever has set or cleared O_NONBLOCK last, so none of these functions relies on that flag.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

/* 0: there were events since the last call; -EAGAIN: none; -EBADMSG: what can be read is no event, or its end; -errno of preadv2(2). */
MUST_USE int event_read(int fd);

/* One more event. -EAGAIN: there is no room, as nobody takes them; -errno of write(2). SIGPIPE has to be ignored. */
MUST_USE int event_write(int fd);

/* Reads from such a descriptor what nobody wants: bytes; 0: the end; -EAGAIN: there are none now; -errno of preadv2(2). */
MUST_USE ssize_t event_skip(int fd);
