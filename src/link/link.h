/* SPDX-License-Identifier: MIT */
/*
 * How frames reach the guest: one data path for every back end.
 *
 * From the guest: the back end reads a batch and hands it up with cb.rx(); frames are valid during that call only.
 * To the guest: reserve() gives frames with room to receive into, commit() puts a header in front of the first len bytes and queues the
 * frame, flush() sends what is queued. Room behind those len bytes is the link's from then on, and may be padded: whatever was received
 * there has to be copied before. Frames are committed in the order of the reservation, a prefix of it; what was not committed is given
 * back by the next reserve() or flush(). When reserve() gives no frame at all, the guest does not read fast enough: stop, and
 * go on when cb.tx_ready() is called. Fewer frames than asked are just that: use them, and ask again. A committed frame is never torn and,
 * while the guest stays connected, never dropped.
 */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

#define LINK_IOV_MAX 64 /* segments of one frame body: of 64 KiB, in a virtual machine's buffers for frames of 1518 bytes */
#define LINK_BATCH 64 /* frames of one rx call and of one reservation, at most */

/* What a link can do; a translator that finds a bit set may leave that work to it. */
#define LINK_OFF_CSUM 0x01u /* L4 checksums towards the guest may be partial */
#define LINK_OFF_TSO4 0x02u
#define LINK_OFF_TSO6 0x04u
#define LINK_OFF_USO 0x08u

enum gso_type { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP };

/* A frame from the guest. */
struct frame {
	const struct iovec *iov;
	unsigned n;
	size_t len;
	uint8_t gso_type; /* enum gso_type */
	uint16_t gso_size; /* payload bytes of each segment */
};

/* A frame being built towards the guest. body is where recvmsg() writes; the header is placed in front at commit. */
struct txframe {
	struct iovec body[LINK_IOV_MAX];
	unsigned n;
	size_t cap; /* bytes in body */
	uint32_t cookie; /* of the back end */
};

/* Frames that are asked for. */
struct txwant {
	size_t n;
	size_t hdr, len; /* bytes of header and of body, of each */
	unsigned queue; /* pair of queues: that of the flow (struct link, rx_queue); of those that are not there, the first */
};

/* Header of a frame: Ethernet up to the transport header, exactly as many bytes as were given to reserve(). */
struct txhdr {
	const uint8_t *bytes;
	uint16_t len;
	uint8_t gso_type; /* enum gso_type; GSO_NONE on links without that offload */
	uint16_t gso_size;
	uint16_t csum_start; /* with LINK_OFF_CSUM and a partial checksum: offset of the transport header, else 0 */
	uint16_t csum_offset; /* of the checksum field from there */
};

struct link;

struct link_cb {
	void (*rx)(void *ctx, const struct frame *f, unsigned n); /* n <= LINK_BATCH */
	void (*tx_ready)(void *ctx); /* room again after a reserve() that got nothing */
	void (*up)(void *ctx); /* a guest is there */
	void (*down)(void *ctx); /* it has gone; another may come */
	void (*gone)(void *ctx); /* it has gone and none will come: time to end */
	void *ctx;
};

struct link_ops {
	void (*on_event)(struct link *l, unsigned which, uint32_t events);
	size_t (*reserve)(struct link *l, struct txframe *f, const struct txwant *w);
	void (*commit)(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len);
	void (*flush)(struct link *l);
	void (*reset)(struct link *l); /* drop the guest, as if it had disconnected */
	void (*free)(struct link *l);
};

struct link_stats {
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes;
	uint64_t rx_bad; /* frames dropped by the back end itself */
	uint64_t tx_full; /* times that reserve() got nothing */
	uint64_t kicks, kicks_idle; /* times that the guest told of work in its queues; those of them when there was none */
};

struct link {
	const struct link_ops *ops;
	struct link_cb cb;
	uint32_t offloads; /* LINK_* */
	/*
	 * Frames can get lost or late between us and the guest's kernel, as other programs carry them there: worth twelve bytes of TCP
	 * timestamp in each. A device whose queue may run over, but that keeps the order and no frame for long, is not meant: SACK, which
	 * costs nothing where nothing is lost, is used on every link.
	 */
	bool lossy;
	size_t mtu; /* bytes of L3 that one frame on the wire carries */
	size_t max_body; /* bytes of L3 that one txframe may stand for: mtu, or 65535 with segmentation offload */
	bool up;
	/*
	 * Pair of queues that the frames handed up just now came by; 0 at other times, and on links with one. What goes back to the same
	 * flow belongs on the same pair: the guest has it worked on by one processor, and keeps its order only there.
	 */
	unsigned rx_queue;
	struct link_stats stats;
};

/* Up to w->n frames; returns how many there was room for. 0 while no guest is there. */
static inline size_t link_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	return l->ops->reserve(l, f, w);
}

/* Queues f with the header h (h->len must be the reserved hdr) and the first len bytes of its body. Padded to 60 bytes. */
static inline void link_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	l->ops->commit(l, f, h, len);
}

/* Sends what is queued. Called once at the end of a loop turn. */
static inline void link_flush(struct link *l)
{
	l->ops->flush(l);
}

/* Queues a whole frame of len bytes, for what is not worth receiving in place; queue as in struct txwant. -ENOBUFS if there is no room. */
MUST_USE int link_send(struct link *l, unsigned queue, const void *frame, size_t len);
