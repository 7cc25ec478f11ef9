/* SPDX-License-Identifier: MIT */
/* What the error queue of a flow's socket tells, as the ICMP messages that the guest would have got. Private to this folder. */
#pragma once

#include "udp/udp_flow.h"

/*
 * Takes what is in the error queue of f and passes it on; clears the pending error when nothing is left. Returns how many entries came
 * from the network.
 */
unsigned udp_err_drain(struct udp *u, struct udp_flow *f);
