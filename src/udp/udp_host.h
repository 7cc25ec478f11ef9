/* SPDX-License-Identifier: MIT */
/* Datagrams of the guest on their way to the host's sockets. Private to this folder. */
#pragma once

#include "udp/udp_flow.h"

/* As udp_from_guest(), for the flow that was found; it may be closed after that. */
void udp_host_send(struct udp *u, struct udp_flow *f, const struct pkt *p, const struct frame *frame, unsigned n);
