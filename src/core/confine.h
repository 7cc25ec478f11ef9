/* SPDX-License-Identifier: MIT */
/*
 * How the engine's process is confined: the order of the layers of os/box.h, and what is said where one is refused. Each holds without
 * the others. One that can not be had is one warning, which names the layer, the reason and what would restore it.
 */
#pragma once

#include "core/pasta.h"
#include "os/daemon.h"
#include "os/ident.h"

/*
 * Becomes the user of id, without capabilities but perhaps CAP_NET_BIND_SERVICE, in namespaces of our own, with an empty root, closed to
 * other processes. *ret_unborn: there is also a new PID namespace, for a daemon only, and no process in it yet. A user namespace is left
 * out by design where it would take that capability away. -errno only if privileges stay.
 */
MUST_USE int confine_enter(struct ident *id, const struct conf *c, bool *ret_unborn);

/* The way into a PID namespace, where one was made: true if we are another process now, the first one there (daemon_reborn()). */
bool confine_reborn(struct daemon *d);

/*
 * Until the start is over (CONFINE_START), and from then on (CONFINE_RUN), no system calls but those that core/calls.h gives reasons for.
 * The second only if the first was not refused. Signals may go to host and, with pasta, to its processes.
 */
enum confine_phase { CONFINE_START, CONFINE_RUN };
MUST_USE int confine_calls(enum confine_phase phase, const struct pasta *pasta, const struct helper *host);

/*
 * No file by a path any more; and neither signals to others, nor TCP as client, nor ports of it that were not open before, as far as
 * c and an annex of pasta's allow. pasta: NULL in passt.
 */
void confine_files(const struct conf *c, const struct pasta *pasta);
