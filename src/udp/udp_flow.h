/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the UDP translator share: its state, and the life of a flow. Private to this folder.
 *
 * A flow has a socket of its own, connected to the peer, in one of two ways:
 *
 * Guest first. The socket is opened by out_socket() and, where that port is free, bound to the port that the guest uses: the guest's
 * mapping is then the same for all peers (RFC 4787 REQ-1), and with multicast and broadcast, where the socket stays unconnected, an
 * answer that comes from a third address reaches the guest with that address as its source.
 *
 * Host first. A datagram on a listener makes the flow; its socket is bound to the very address and port that the datagram was sent to,
 * so that the kernel hands all later ones of that peer to the flow, and replies leave from where they are expected. Both sockets must
 * have SO_REUSEADDR while the second is bound; the listener has it no longer than that, or any process could share its port. If no
 * socket is to be had, the flow sends through the listener, naming the source with a control message.
 *
 * The interest mask is EPOLLIN, unless the link had no room for what arrived ("blocked"): then nothing, until udp_link_ready(); nor for a
 * moment where the system has no memory.
 */
#pragma once

#include "base/list.h"
#include "os/hops.h"
#include "os/pktinfo.h"
#include "os/sock.h"
#include "os/sockwatch.h"
#include "udp/udp.h"
#include "udp/udp_out.h"
#include "wire/eth.h"
#include "xlate/hosterr.h"
#include "xlate/peer.h"

#define UDP_PAYLOAD_MAX 65535 /* more than any datagram has */
#define UDP_AREA (65536 + 64) /* room for one with its header */

/* By what was seen of it a flow is in one of these classes, each with its time-out. */
enum udp_idle {
	UDP_ONEWAY, /* struct udp_times */
	UDP_DNS, /* 17 s, where the others have more: a well-known port whose exchanges are short (RFC 4787 REQ-5 a) */
	UDP_ANSWERED, /* struct udp_times */
	UDP_IDLES
};

struct udp_flow {
	struct flow flow; /* key: the guest's view */
	struct list idle; /* in udp.idle[], ordered by last_ns */
	struct list wait; /* in udp.wait while blocked */
	uint64_t last_ns;
	struct peer_sock sock; /* fd -1: through the listener */
	struct sockwatch watch; /* of that */
	struct ep local; /* host first: what the peer sent to */
	unsigned scope; /* host first: interface of a link-local peer */
	uint32_t listener; /* host first: index */
	struct udp_out_seg seg;
	uint16_t longest; /* message of the last batch */
	uint16_t same; /* size of all datagrams of the last batch, if the next may be received as one superframe; else 0 */
	uint8_t frags; /* fragments that the largest datagram of the last batch became; 1: none was cut */
	uint8_t from_guest : 1, from_host : 1; /* directions seen */
	uint8_t host_first : 1;
	uint8_t shares : 1; /* counted in udp.users */
	uint8_t blocked : 1;
	uint8_t gro : 1; /* messages may consist of several datagrams (os/udpseg.h) */
	uint8_t super : 1; /* one of the last batch did */
};

struct udp {
	struct udp_deps d;
	struct hosterr hosterr;
	unsigned owner_flow, owner_listen;
	struct listeners *ls;
	udp_divert_fn *divert; /* NULL: all datagrams of listeners are the guest's */
	void *divert_ctx;
	uint64_t *ls_blocked; /* a bit for each listener whose EPOLLIN is off */
	bool ls_any_blocked;
	uint32_t *by_port; /* index of a UDP listener on this port, plus one */
	uint16_t *users[2]; /* for IPv4 and IPv6: guest-first flows whose sockets share this port */
	struct list idle[UDP_IDLES], wait;
	struct timer sweep;
	uint64_t sweep_ns; /* when that is due */
	uint32_t n, max; /* flows */
	uint32_t frag_id;

	/* Scratch: what one batch needs, so that no call has to clear it. */
	struct mmsghdr m[LINK_BATCH];
	struct iovec iov[LINK_BATCH][LINK_IOV_MAX + 1];
	struct sockaddr_storage name[LINK_BATCH];
	union {
		uint8_t b[PKTINFO_CTL + HOPS_CTL];
		struct cmsghdr align;
	} ctl[LINK_BATCH];
	struct udp_out out; /* towards the host */
	struct txframe tx[LINK_BATCH];
	uint8_t *area; /* LINK_BATCH times UDP_AREA */
	uint8_t frame[ETH_HLEN + UDP_AREA];
};

/* Slot i of the area: UDP_AREA bytes, the payload behind eight for the header. */
static inline uint8_t *udp_area(const struct udp *u, unsigned i)
{
	return u->area + (size_t)i * UDP_AREA;
}

/* The flow of a datagram of the guest that has none yet. NULL: dropped; the guest has been told if it ought to be. */
struct udp_flow *udp_flow_from_guest(struct udp *u, const struct pkt *p);

/* Where a datagram came in. */
struct udp_path {
	uint32_t listener; /* index */
	struct ep peer; /* who sent it, in the host's view */
	struct ep local; /* what it was sent to; any address if that is not known or not one to send from */
	unsigned scope; /* interface */
};

/* The flow of a datagram that a listener got, new if need be. NULL: dropped. */
struct udp_flow *udp_flow_from_host(struct udp *u, const struct udp_path *p);

void udp_flow_close(struct udp *u, struct udp_flow *f);

/* Something was sent to the guest, or by it: the flow lives on, unless anybody could have sent that (peer_is_anyone()). */
void udp_flow_touch(struct udp *u, struct udp_flow *f, bool by_guest);

/* The link has no room. */
void udp_flow_block(struct udp *u, struct udp_flow *f);
void udp_flow_unblock(struct udp_flow *f);

/* The system has no memory for what was asked of the socket. */
void udp_flow_rest(struct udp_flow *f);

void udp_flow_sweep(struct timer *t, uint64_t now_ns);

/* The open UDP listener of this index, or NULL. */
struct listener *udp_listener(const struct udp *u, uint32_t index);
