/* SPDX-License-Identifier: MIT */
/*
 * The tap back end: frames of a network namespace's interface, through the descriptor of a tap device (tuntap.rst of the kernel).
 *
 * One read or write moves one frame. With IFF_VNET_HDR each has struct virtio_net_hdr in front (10 bytes, in the machine's byte order,
 * virtio 1.2 section 5.1.6), and what the device was told by TUNSETOFFLOAD can be left to it: partial checksums, and superframes of up
 * to 64 KiB in both directions whatever the MTU is. Frames that the device can't take now stay queued, in order; those for an
 * interface that is down are dropped, as by a cable that is not plugged in.
 */
#pragma once

#include "link/link.h"
#include "os/loop.h"

struct tap_conf {
	int fd; /* non-blocking; owned by the link from tap_new() on */
	bool vnet_hdr; /* IFF_VNET_HDR is set, with the header size that is the default */
	uint32_t offloads; /* LINK_OFF_* as accepted by TUNSETOFFLOAD; without vnet_hdr ignored */
	size_t mtu; /* of the interface */
	struct link_cb cb;
};

/* -ENOMEM. Nothing happens before tap_start(). The caller ends it with link->ops->free(). */
MUST_USE int tap_new(struct loop *loop, const struct tap_conf *c, struct link **ret_link);

/* The network namespace ends by itself, and the device with it: free() does not wait for that. */
void tap_leave(struct link *l);

/* The device is not the interface itself, and that one is gone: as if the device were. */
void tap_gone(struct link *l);

/* The guest is there at once: cb.up() is called from inside. When the device goes away, cb.gone() is called, once. */
MUST_USE int tap_start(struct link *l);
