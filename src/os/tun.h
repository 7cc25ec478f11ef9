/* SPDX-License-Identifier: MIT */
/* Tap devices (Documentation/networking/tuntap.rst of the kernel). */
#pragma once

#include "base/defs.h"

#define TUN_PATH "/dev/net/tun"

/* What the kernel may hand over unfinished; the bits of TUNSETOFFLOAD. */
#define TUN_CSUM 0x01u
#define TUN_TSO4 0x02u
#define TUN_TSO6 0x04u
#define TUN_TSO_ECN 0x08u
#define TUN_USO4 0x20u
#define TUN_USO6 0x40u

struct tun {
	int fd; /* non-blocking, close-on-exec */
	uint32_t vnet_hdr_len; /* bytes of struct virtio_net_hdr before each frame, both ways; 0: frames are plain */
	uint32_t offloads; /* TUN_*; 0 without that header */
};

/*
 * Makes the tap device, in the network namespace of the caller; name may be empty for one that the kernel chooses. It goes with the
 * descriptor. Without vnet, or where the kernel refuses them, there is no header or fewer offloads. -errno, logged.
 */
MUST_USE int tun_open(const char *name, bool vnet, struct tun *ret_tun);

/*
 * The device no longer goes with its descriptor but with the network namespace, which is about to end. Whoever closes the last descriptor
 * of a device otherwise waits until the kernel has taken it apart, which is tens of milliseconds. If it can't be done, all is as it was.
 */
void tun_leave(int fd);
