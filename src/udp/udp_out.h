/* SPDX-License-Identifier: MIT */
/*
 * Datagrams on their way out of one socket, gathered: those of one size that follow each other leave as one message (os/udpseg.h), and
 * all messages of a batch with one call. What the socket or the path takes in no such message leaves one by one.
 */
#pragma once

#include "link/link.h"
#include "os/pktinfo.h"
#include "os/sock.h"
#include "os/udpseg.h"
#include "wire/pkt.h"

#define UDP_OUT_IOV 512 /* segments of memory that one batch consists of */

/*
 * Longest datagram that leaves together with others: lowered by what the kernel refuses. The path, or the interface, may be another one
 * later, so some time after that longer ones are tried again.
 */
struct udp_out_seg {
	uint16_t max; /* UINT16_MAX: any, at the beginning */
	uint32_t lowered_s; /* when, seconds */
};

#define UDP_OUT_RETRY_S 600u /* as for the MTU of a path (RFC 1191 6.3) */

/* The socket, and what is done about errors. */
struct udp_out_to {
	int fd;
	const struct ep *dst; /* NULL: the socket is connected */
	int family; /* of the socket, with dst */
	unsigned scope; /* of dst, with local also of that */
	const struct addr *local; /* address to send from; NULL: the kernel's choice */
	struct udp_out_seg *seg; /* of the socket, kept by the caller */
	uint32_t now_s;

	/* err (positive) may be that of an earlier datagram: true to try once more. */
	bool (*pending)(void *ctx, int err);
	/* A datagram was not sent; pkt is what it was put with. */
	void (*failed)(void *ctx, const struct pkt *pkt, int err);
	void *ctx;
};

/* What is put: one datagram, or several of size seg of which the last may be shorter. */
struct udp_out_data {
	const struct iovec *iov;
	unsigned n;
	size_t off, len; /* part of iov */
	uint16_t seg; /* 0: one datagram */
	const struct pkt *pkt; /* where it came from, if that is of interest */
};

struct udp_out_run {
	const struct pkt *pkt; /* of the first datagram */
	size_t len;
	uint16_t seg, n; /* n datagrams of seg bytes, but for the last */
	bool each; /* each is of a packet of its own, which follow each other in memory */
	bool open; /* another may join */
};

struct udp_out {
	const struct udp_out_to *to;
	uint64_t sent, lost; /* datagrams since udp_out_begin() */
	bool checked, known; /* the kernel was asked for segments; it knows them */
	unsigned n, n_iov; /* messages, and what they use of iov */
	struct sockaddr_storage name;
	socklen_t name_len;
	struct msghdr like; /* what every message has */
	struct mmsghdr m[LINK_BATCH];
	struct udp_out_run run[LINK_BATCH];
	struct iovec iov[UDP_OUT_IOV];
	union {
		uint8_t b[PKTINFO_CTL + UDPSEG_CTL];
		struct cmsghdr align;
	} ctl[LINK_BATCH];
};

/* to stays valid until udp_out_end(). */
void udp_out_begin(struct udp_out *o, const struct udp_out_to *to);

/* The memory stays as it is until it was sent: by udp_out_flush(), or by this when there is no room for more. */
void udp_out_put(struct udp_out *o, const struct udp_out_data *d);
void udp_out_flush(struct udp_out *o);

/* Flushes; o->sent and o->lost tell the outcome. */
void udp_out_end(struct udp_out *o);
