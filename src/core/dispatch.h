/* SPDX-License-Identifier: MIT */
/* Frames of the guest, each to whom it concerns: services, reassembly, translators. */
#pragma once

#include "core/engine.h"

/* n <= LINK_BATCH frames, in order. Frames of one flow that follow each other are handed on together. */
void dispatch_from_guest(struct engine *e, const struct frame *f, unsigned n);

/* The timer of e->frags: datagrams whose time is over are dropped, and the guest is told of those that it should know of. */
void dispatch_frags_late(struct engine *e);
