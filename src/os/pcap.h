/* SPDX-License-Identifier: MIT */
/*
 * Writes frames to a capture file: the classic format with nanosecond timestamps (draft-ietf-opsawg-pcap), link type Ethernet.
 *
 * Frames are gathered and written in large pieces. An error ends the capture with one warning, nothing else.
 */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

struct pcap;

/* Creates the file or empties it. */
MUST_USE int pcap_open(const char *path, struct pcap **ret_pcap);

/* The same with a file that somebody else has opened for writing, and that is taken over on success. -EINVAL: not a regular file, which
 * could keep us waiting. */
MUST_USE int pcap_open_fd(int fd, struct pcap **ret_pcap);

/* Adds the frame that iov holds, with the time of now. */
void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned n);

void pcap_flush(struct pcap *p);

/* Flushes and closes. NULL is fine. */
void pcap_close(struct pcap *p);
