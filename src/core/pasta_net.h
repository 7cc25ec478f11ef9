/* SPDX-License-Identifier: MIT */
/* The interface of the namespace as the configuration and the host want it. */
#pragma once

#include "conf/conf.h"
#include "netns/config.h"

/* Fills in *ret_net for the interface of this name. Reads the host's addresses and routes; what can't be copied is a warning. */
void pasta_net(const struct conf *c, const char *ifname, struct nsconf *ret_net);
