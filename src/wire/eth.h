/* SPDX-License-Identifier: MIT */
/* Ethernet II (RFC 894, RFC 2464). */
#pragma once

#include "base/addr.h"
#include "base/wr.h"

#define ETH_HLEN 14
#define ETH_ZLEN 60 /* shortest frame without its checksum; shorter ones are padded towards the guest */
#define ETH_LEN_MAX 65535 /* longest frame that we take from a guest, whatever the MTU */

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IP6 0x86dd

void eth_put(struct wr *w, const uint8_t dst[MAC_LEN], const uint8_t src[MAC_LEN], uint16_t ethertype);
