/* SPDX-License-Identifier: MIT */
#include "netns/annex_filter.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#define FIN 0x01u
#define SYN 0x02u
#define RST 0x04u
#define ACK 0x10u

#define IP4 ETH_HLEN
#define IP4_FRAG (IP4 + 6)
#define IP4_PROTO (IP4 + 9)
#define IP6 ETH_HLEN
#define IP6_NEXT (IP6 + 6)
#define IP6_SRC (IP6 + 8)
#define IP6_DST (IP6 + 24)
#define IP6_END (IP6 + 40)
#define TCP_FLAGS 13

/* A place beyond the end of the frame ends a program with 0. */
#define LOAD(size, at) BPF_STMT(BPF_LD | BPF_##size | BPF_ABS, at)
#define AND(bits) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits)
#define RET(k) BPF_STMT(BPF_RET | BPF_K, k)

/* To one of two instructions; self is the number of this one. */
#define IF(self, test, k, yes, no) BPF_JUMP(BPF_JMP | BPF_##test | BPF_K, k, (yes) - (self)-1, (no) - (self)-1)
#define GO(self, to) BPF_STMT(BPF_JMP | BPF_JA, (to) - (self)-1)

#define LL_MASK 0xffc0u /* fe80::/10 */
#define LL 0xfe80u

enum { V6 = 9, FLAGS = 19, LAST = 20, YES = 21, NO = 22 };

/* To FLAGS with the flags of a segment of TCP; to other with what is none, or one that is ours whatever its flags are. */
/* clang-format off */
#define WALK(other) \
	LOAD(H, 12), \
	IF(1, JEQ, ETH_P_IP, 2, V6), \
	LOAD(B, IP4_PROTO), \
	IF(3, JEQ, IPPROTO_TCP, 4, other), \
	LOAD(H, IP4_FRAG), \
	IF(5, JSET, 0x1fffu, NO, 6), \
	BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, IP4), \
	BPF_STMT(BPF_LD | BPF_B | BPF_IND, IP4 + TCP_FLAGS), \
	GO(8, FLAGS), \
	IF(V6, JEQ, ETH_P_IPV6, 10, other), \
	LOAD(B, IP6_NEXT), \
	IF(11, JEQ, IPPROTO_TCP, 12, other), \
	LOAD(H, IP6_SRC), \
	AND(LL_MASK), \
	IF(14, JEQ, LL, other, 15), \
	LOAD(H, IP6_DST), \
	AND(LL_MASK), \
	IF(17, JEQ, LL, other, 18), \
	LOAD(B, IP6_END + TCP_FLAGS)
/* clang-format on */

struct annex_filter annex_filter_ours(void)
{
	static const struct sock_filter insn[] = {
		WALK(YES), AND(SYN | ACK | RST | FIN), IF(LAST, JEQ, SYN, YES, NO), RET(~0u), RET(0),
	};

	return (struct annex_filter){ insn, ARRAY_SIZE(insn) };
}

struct annex_filter annex_filter_resets(void)
{
	static const struct sock_filter insn[] = {
		WALK(NO), AND(RST), IF(LAST, JEQ, RST, YES, NO), RET(~0u), RET(0),
	};

	return (struct annex_filter){ insn, ARRAY_SIZE(insn) };
}

struct annex_filter annex_filter_any(void)
{
	static const struct sock_filter insn[] = { RET(~0u) };

	return (struct annex_filter){ insn, ARRAY_SIZE(insn) };
}
