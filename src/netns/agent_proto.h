/* SPDX-License-Identifier: MIT */
/*
 * What engine and namespace agent tell each other: one request, one reply, each a message of a fixed size over a SOCK_SEQPACKET pair.
 *
 * Both are one program on one machine, so members are in host order, and padding is anything. A request of another size than its type says
 * ends the agent, a reply of another size ends the engine's trust in it. Descriptors travel beside a reply (SCM_RIGHTS).
 */
#pragma once

#include "base/addr.h"
#include "netns/annex.h"
#include "netns/config.h"
#include "os/bound.h"
#include "os/fdpass.h"
#include "os/helper.h"

#define AGENT_NAME_MAX 16
#define AGENT_TEXT_MAX 256
#define AGENT_SOCKETS_MAX FDPASS_MAX

enum agent_type {
	AGENT_HELLO, /* a reply without a request. The first one: the namespace is entered, or could not be. Later: text is why it ends */
	AGENT_OPEN_TAP,
	AGENT_CONFIG,
	AGENT_LISTEN,
	AGENT_SOCKETS,
	AGENT_DIAG,
	AGENT_SEAL,
	AGENT_LINKS,
	AGENT_ANNEX, /* comes with the descriptor of the namespace to serve */
	AGENT_FOLLOW,
	AGENT_LEAVE,
	AGENT_QUIT, /* no reply but the end */
	AGENT_TYPES,
};

struct agent_head {
	uint32_t type; /* enum agent_type */
	uint32_t cookie; /* the reply has that of its request */
};

struct agent_tap {
	char name[AGENT_NAME_MAX];
	uint32_t vnet; /* 0: plain frames */
};

struct agent_sockets {
	uint32_t family; /* AF_INET, AF_INET6 */
	uint32_t type; /* SOCK_STREAM, SOCK_DGRAM, SOCK_RAW */
	uint32_t proto;
	uint32_t n; /* 1..AGENT_SOCKETS_MAX */
	uint32_t stand_in; /* not 0: annex_socket() */
};

struct agent_req {
	struct agent_head head;
	union {
		struct agent_tap tap;
		struct bound_spec listen;
		struct agent_sockets sockets;
		struct helper_seal seal;
		struct nsconf config;
		struct annex_conf annex;
	};
};

struct agent_tap_result {
	uint32_t vnet_hdr_len, offloads; /* of struct tun */
	uint32_t ifindex;
	char name[AGENT_NAME_MAX];
};

struct agent_reply {
	struct agent_head head;
	int32_t err; /* 0, or -errno */
	uint32_t n_fds; /* that come along */
	char text[AGENT_TEXT_MAX]; /* what the agent would have logged as an error; empty: nothing */
	union {
		struct agent_tap_result tap;
		struct nsconf_result config;
		struct annex_result annex;
		uint32_t v6; /* of a listener: the socket is of AF_INET6 */
	};
};

/* Bytes of a message of this type. 0: there is none. */
static inline size_t agent_req_size(uint32_t type)
{
	static const size_t body[AGENT_TYPES] = {
		[AGENT_OPEN_TAP] = sizeof(struct agent_tap), [AGENT_CONFIG] = sizeof(struct nsconf),
		[AGENT_LISTEN] = sizeof(struct bound_spec),  [AGENT_SOCKETS] = sizeof(struct agent_sockets),
		[AGENT_SEAL] = sizeof(struct helper_seal),   [AGENT_ANNEX] = sizeof(struct annex_conf),
		[AGENT_FOLLOW] = sizeof(struct annex_conf),
	};

	return type > AGENT_HELLO && type < AGENT_TYPES ? offsetof(struct agent_req, tap) + body[type] : 0;
}

static inline size_t agent_reply_size(uint32_t type)
{
	static const size_t body[AGENT_TYPES] = {
		[AGENT_OPEN_TAP] = sizeof(struct agent_tap_result),
		[AGENT_CONFIG] = sizeof(struct nsconf_result),
		[AGENT_LISTEN] = sizeof(uint32_t),
		[AGENT_ANNEX] = sizeof(struct annex_result),
	};

	return type < AGENT_QUIT ? offsetof(struct agent_reply, tap) + body[type] : 0;
}
