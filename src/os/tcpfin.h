/* SPDX-License-Identifier: MIT */
/* Whether the peer has ended its half of a TCP connection. */
#pragma once

#include "base/defs.h"

/*
 * True if the FIN has arrived on a socket from which taken bytes (modulo 2^32) were read, also when the connection was reset since: the
 * kernel counts it with the bytes that it received (TCP_INFO, Linux 4.1). True as well if that can't be known.
 */
bool tcpfin_arrived(int fd, uint32_t taken);
