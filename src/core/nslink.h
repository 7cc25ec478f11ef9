/* SPDX-License-Identifier: MIT */
/*
 * With an annex (netns/annex.h), the interface of the namespace is not a device of ours: what becomes of it is told by the kernel. The annex
 * has to know its MTU, and the MAC of whoever is behind it: that of the interface, or what frames come from, as from a bridge. The end of
 * the interface is the end of the link.
 */
#pragma once

#include <string.h>

#include "netns/agent.h"
#include "os/loop.h"
#include "os/netlink.h"

struct nslink {
	int fd; /* nl_links_open() of the namespace; -1: none */
	struct loop *loop;
	struct agent *annex;
	struct annex_conf is; /* as the annex knows it */
	uint8_t own[MAC_LEN]; /* MAC of the interface itself */
	unsigned ifindex; /* 0: not known yet */
	uint64_t mac_ns; /* when frames last said something new */
	bool asked, again; /* the annex has been told, and has not answered yet; there is more to tell by now */
	bool ended;
	void (*gone)(void *ctx); /* once */
	void *ctx;
};

/* fd, annex, is, gone and ctx are set. Registers an event owner. -errno. */
MUST_USE int nslink_start(struct nslink *f, struct loop *loop);

void nslink_mac_new(struct nslink *f, const uint8_t mac[MAC_LEN]);

/* Frames of the namespace come from this MAC. As cheap as can be if that is known. */
static inline void nslink_mac(struct nslink *f, const uint8_t mac[MAC_LEN])
{
	if (f->fd >= 0 && memcmp(f->is.mac, mac, MAC_LEN))
		nslink_mac_new(f, mac);
}

/* The agent has answered what it was told. */
void nslink_replied(struct nslink *f, int err);

/* Closes the descriptor. Safe at any stage, if fd was set. */
void nslink_close(struct nslink *f);
