/* SPDX-License-Identifier: MIT */
/*
 * Values of options, from text. All are pure but for val_runas(), which asks the user database. -EINVAL unless said otherwise; a value
 * has to be the whole word.
 */
#pragma once

#include <sys/types.h>

#include "base/addr.h"

#define VAL_IFNAME_MAX 16 /* with the NUL, as IFNAMSIZ */
#define VAL_NAME_MAX 256 /* with the NUL */
#define VAL_MTU_MAX 65521
#define VAL_LOG_SIZE_MIN 40960

/* Kinds of addresses that make no sense for an option. */
enum val_deny {
	VAL_DENY_ANY = 1,
	VAL_DENY_LOOPBACK = 2,
	VAL_DENY_MULTI = 4, /* multicast and broadcast */
	VAL_DENY_ALL = 7,
};

/* An address of a kind that is not in deny. */
MUST_USE int val_addr(const char *s, unsigned deny, struct addr *ret_addr);

/* ADDR or ADDR/LENGTH; the length is 1..32 or 1..128, or 0 if there is none. Nothing but addresses that a host can have. */
MUST_USE int val_addr_plen(const char *s, struct addr *ret_addr, unsigned *ret_plen);

/* IPv4 network mask: dotted, or a prefix length 1..32. */
MUST_USE int val_netmask(const char *s, unsigned *ret_plen);

/* Prefix length of an IPv4 address by its class (RFC 791 3.2): 8, 16, 24, and 32 for what has no class. */
unsigned val_class_plen(const struct addr *a);

/* Decimal MTU; -ERANGE if it is above VAL_MTU_MAX. 0 is allowed: nothing is to be advertised. */
MUST_USE int val_mtu(const char *s, unsigned *ret_mtu);

MUST_USE int val_fd(const char *s, int *ret_fd);
MUST_USE int val_log_size(const char *s, size_t *ret_bytes);

/* Text that fits into cap bytes with its NUL, and is not empty. */
MUST_USE int val_text(const char *s, size_t cap, char *ret_text);

/* Name that an interface can have (1..15 bytes, no slash, colon or space). Whether it exists is not looked at. */
MUST_USE int val_ifname(const char *s, char ret_name[VAL_IFNAME_MAX]);

/*
 * Host or domain name from the len bytes at s: labels of 1..63 letters, digits, hyphens and underscores, 253 bytes at most (RFC 1035
 * 2.3.4). A dot at the end is dropped.
 */
MUST_USE int val_name(const char *s, size_t len, char ret_name[VAL_NAME_MAX]);

/* UID[:GID] or LOGIN[:GROUP], also mixed. Without a group: that of the user in the user database, or the number of the user. */
MUST_USE int val_runas(const char *s, uid_t *ret_uid, gid_t *ret_gid);
