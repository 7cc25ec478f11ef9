/* SPDX-License-Identifier: MIT */
/* What the error queue of a flow's socket tells, as the ICMP messages that the guest would have got. Private to this folder. */
#pragma once

#include "icmp/icmp_flow.h"

/*
 * Takes what is in the error queue of f and passes it on; clears the pending error when nothing is left. Returns how many entries came
 * from the network.
 */
unsigned icmp_err_drain(struct icmp *m, struct icmp_flow *f);
