/* SPDX-License-Identifier: MIT */
/* The descriptors that an engine may have, and who gets how many of them (core/budget.h). */
#pragma once

#include "core/engine.h"

/* Raises the limit as far as that helps. Listeners are open. Sets e->unix_in_max where that is of use. */
struct budget share_find(struct engine *e);
