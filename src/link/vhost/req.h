/* SPDX-License-Identifier: MIT */
/*
 * Requests of the front-end: one table that says of each what it has to look like, and one place that looks before a handler runs.
 *
 * What can't be done is answered with an error where the front-end asked for an answer, and told in the log; so is a request that we do
 * not know. Neither ends the connection.
 */
#pragma once

#include "link/vhost/chan.h"
#include "link/vhost/dev.h"

/* Protocol features that are offered. */
uint64_t vreq_protocol_features(void);

/* Handles the message that c has received, and closes those of its descriptors that are of no use. -errno: an answer could not be sent. */
MUST_USE int vreq_handle(struct vdev *d, struct vchan *c);
