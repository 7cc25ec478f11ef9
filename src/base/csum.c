/* SPDX-License-Identifier: MIT */
#include "base/csum.h"

#include <endian.h>
#include <string.h>

/*
 * Words are summed in the machine's byte order, as that changes nothing but the order of bytes in the result (RFC 1071 2B), and 32 bits
 * at a time into 64-bit lanes, where no carry can be lost below 64 GiB. The compiler makes of the vectors what the machine has.
 */
typedef uint64_t lanes __attribute__((vector_size(16)));

#define LOW32 UINT64_C(0xffffffff)

static inline lanes lanes_add(lanes acc, const uint8_t *p)
{
	lanes v;

	memcpy(&v, p, sizeof(v));
	return acc + (v & LOW32) + (v >> 32);
}

/* A sum of 64 bits to one of 16, the same modulo 0xffff, and zero only for zero. */
static inline uint16_t fold16(uint64_t sum)
{
	sum = (sum & LOW32) + (sum >> 32);
	sum = (sum & LOW32) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* Sum of the bytes as 16-bit numbers in network order; an odd last byte is the upper half of its number. */
static uint16_t sum_bytes(const uint8_t *p, size_t len)
{
	lanes a = { 0 }, b = { 0 };
	uint64_t sum, w;

	/* Two independent chains of additions. */
	for (; len >= 4 * sizeof(a); len -= 4 * sizeof(a), p += 4 * sizeof(a)) {
		a = lanes_add(lanes_add(a, p), p + 2 * sizeof(a));
		b = lanes_add(lanes_add(b, p + sizeof(a)), p + 3 * sizeof(a));
	}
	a += b;
	a = (a & LOW32) + (a >> 32);
	sum = a[0] + a[1];
	for (; len >= sizeof(w); len -= sizeof(w), p += sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		sum += (w & LOW32) + (w >> 32);
	}
	if (len) {
		w = 0;
		memcpy(&w, p, len);
		sum += (w & LOW32) + (w >> 32);
	}
	return be16toh(fold16(sum));
}

uint64_t csum_add(const void *buf, size_t len, uint64_t sum)
{
	return sum + sum_bytes(buf, len);
}

uint64_t csum_add_iov(const struct iovec *iov, unsigned n, size_t skip, size_t len, uint64_t sum)
{
	bool odd = false;
	unsigned i;

	for (i = 0; i < n && len; i++) {
		size_t part;
		uint16_t s;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = MIN(len, iov[i].iov_len - skip);
		s = sum_bytes((const uint8_t *)iov[i].iov_base + skip, part);
		/* Behind an odd number of bytes, upper and lower halves have changed places. */
		sum += odd ? __builtin_bswap16(s) : s;
		odd ^= part & 1;
		len -= part;
		skip = 0;
	}
	return sum;
}

uint64_t csum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, size_t len)
{
	uint64_t sum = (uint64_t)len + proto;

	sum = csum_add(addr_bytes(src), addr_len(src), sum);
	return csum_add(addr_bytes(dst), addr_len(dst), sum);
}

uint16_t csum_fold(uint64_t sum)
{
	return (uint16_t)~fold16(sum);
}
