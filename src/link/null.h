/* SPDX-License-Identifier: MIT */
/* A link to nobody: takes all frames and gives none. For pasta without an interface. */
#pragma once

#include "link/link.h"

/* -ENOMEM. */
MUST_USE int null_new(const struct link_cb *cb, size_t mtu, struct link **ret_link);
