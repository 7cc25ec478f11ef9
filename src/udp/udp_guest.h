/* SPDX-License-Identifier: MIT */
/* Datagrams towards the guest: from the sockets of flows, and from listeners. Private to this folder. */
#pragma once

#include "udp/udp_flow.h"

/* The socket of f is readable: one batch. */
void udp_guest_from_flow(struct udp *u, struct udp_flow *f);

/* A listener is readable: one batch. */
void udp_guest_from_listener(struct udp *u, uint32_t index);
