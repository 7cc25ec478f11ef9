/* SPDX-License-Identifier: MIT */
/* Errors of the host as the ICMP messages that the guest would have got. Private to this folder. */
#pragma once

#include "icmp/icmp_flow.h"

/*
 * Tells the guest that its request could not be sent because of err, a positive errno. False if that is not an error that a network
 * reports, and nothing was sent.
 */
bool icmp_err_refuse(struct icmp *m, const struct pkt *p, int err);

/* The same for EMSGSIZE: "fragmentation needed" or "packet too big". */
void icmp_err_too_big(struct icmp *m, const struct pkt *p, uint32_t mtu);

/*
 * Takes what is in the error queue of f and passes it on; clears the pending error when nothing is left. Returns how many entries came
 * from the network.
 */
unsigned icmp_err_drain(struct icmp *m, struct icmp_flow *f);
