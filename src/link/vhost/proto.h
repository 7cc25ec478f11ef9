/* SPDX-License-Identifier: MIT */
/* Numbers and layouts of the vhost-user protocol (docs/interop/vhost-user.rst of QEMU). All in the machine's byte order. */
#pragma once

#include "base/defs.h"

#define VHOST_USER_VERSION 1u
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY 4u /* flags of a message */
#define VHOST_USER_NEED_REPLY 8u

#define VHOST_USER_HDR_LEN 12u
#define VHOST_USER_FDS 8u /* descriptors of one message */
#define VHOST_USER_NO_FD 0x100u /* in the number of a ring, and in the answer to SET_DEVICE_STATE_FD: there is no descriptor */

#define VHOST_USER_F_PROTOCOL_FEATURES 30u /* bit of the features */

/* Bits of the protocol features. */
enum vhost_user_pf {
	PF_MQ = 0,
	PF_LOG_SHMFD = 1,
	PF_RARP = 2,
	PF_REPLY_ACK = 3,
	PF_BACKEND_REQ = 5,
	PF_INFLIGHT_SHMFD = 12,
	PF_RESET_DEVICE = 13,
	PF_CONFIGURE_MEM_SLOTS = 15,
	PF_DEVICE_STATE = 19,
};

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
};

struct vhost_user_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

struct vhost_user_region {
	uint64_t guest;
	uint64_t size;
	uint64_t user;
	uint64_t offset;
};

struct vhost_user_mem {
	uint32_t n;
	uint32_t padding;
	struct vhost_user_region region[VHOST_USER_FDS];
};

struct vhost_user_mem_reg {
	uint64_t padding;
	struct vhost_user_region region;
};

struct vhost_user_log {
	uint64_t size;
	uint64_t offset;
};

struct vhost_user_state {
	uint32_t load; /* 1: to the back-end; 0: from it */
	uint32_t phase; /* 0: all rings are stopped */
};

struct vhost_user_inflight {
	uint64_t size;
	uint64_t offset;
	uint16_t queues;
	uint16_t queue_size;
	uint32_t padding; /* part of the message or not, depending on the front-end */
};
