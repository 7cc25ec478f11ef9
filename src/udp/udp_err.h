/* SPDX-License-Identifier: MIT */
/* Errors of the host as the ICMP messages that the guest would have got. Private to this folder. */
#pragma once

#include "udp/udp_flow.h"

/*
 * Tells the guest that its datagram could not be sent because of err, a positive errno. False if that is not an error that a network
 * reports, and nothing was sent.
 */
bool udp_err_refuse(struct udp *u, const struct pkt *p, int err);

/* As udp_err_refuse(), for EMSGSIZE: "fragmentation needed" or "packet too big". */
void udp_err_too_big(struct udp *u, const struct pkt *p, uint32_t mtu);

/*
 * Takes what is in the error queue of f and passes it on; clears the pending error when nothing is left. Returns how many entries came
 * from the network.
 */
unsigned udp_err_drain(struct udp *u, struct udp_flow *f);
