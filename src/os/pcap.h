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

/* Maps memory for one capture at a time; pages are used when there is one. NULL if there is none. */
struct pcap *pcap_new(void);
void pcap_free(struct pcap *p); /* NULL is fine. A capture has to be closed before */

/* Creates the file or empties it. */
MUST_USE int pcap_open(struct pcap *p, const char *path);

/* The same with a file that somebody else has opened for writing, and that is taken over on success. -EINVAL: not a regular file, which
 * could keep us waiting. */
MUST_USE int pcap_open_fd(struct pcap *p, int fd);

/* Adds the frame that iov holds, with the time of now. */
void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned n);

void pcap_flush(struct pcap *p);

/* Flushes and closes; gives the pages back. NULL is fine. */
void pcap_close(struct pcap *p);
