/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue whose memory holds whatever the guest likes, and changes while the device works: four bytes say how the queue is set up,
 * then come pairs of a length and bytes, which are written to the memory one behind the other, from its start again when it is full;
 * between two pieces the device takes chains and gives them back, or vanishes, and another one goes on by its notes, which are in the same
 * memory. What it takes must lie in the guest's memory.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rd.h"
#include "link/vhost/vq.h"

#define MEM 8192u
#define GUEST UINT64_C(0x1000)
#define NOTES 2048u /* in the memory */
#define ROOM 16u
#define HELD 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
	struct vmem m;
	struct vq q;
	struct vq_conf conf;
	uint8_t *mem;
	size_t at;
	uint16_t held[HELD];
	unsigned n;
};

static void chain_check(struct fuzz *z, const struct vq_chain *c, const struct iovec *iov)
{
	size_t len = 0;

	assert(c->n <= ROOM);
	for (unsigned i = 0; i < c->n; i++) {
		uint64_t first = 0, last = 0;

		assert(!vmem_guest(&z->m, iov[i].iov_base, &first));
		assert(!vmem_guest(&z->m, (uint8_t *)iov[i].iov_base + iov[i].iov_len - 1, &last));
		len += iov[i].iov_len;
		if (z->q.conf.write)
			memset(iov[i].iov_base, 0x5a, iov[i].iov_len);
	}
	assert(len == c->len);
}

static void work(struct fuzz *z, uint8_t op)
{
	struct iovec iov[ROOM];
	uint8_t buf[1024];
	struct vq_chain c;
	int err = 1;

	while (err == 1 && z->n < HELD) {
		err = vq_pop(&z->q, iov, op % (ROOM + 1), &c);
		assert(err >= -ENOBUFS && err <= 1);
		if (err == 1)
			chain_check(z, &c, iov);
		if (err == -ENOBUFS)
			err = vq_pop_copy(&z->q, buf, sizeof(buf), &c);
		if (err == 1)
			z->held[z->n++] = c.head;
	}
	if (op & 0x20 && z->n) {
		vq_unpop(&z->q, 1);
		z->n--;
	}
	for (unsigned i = 0; i < z->n; i++)
		vq_push(&z->q, z->held[i], op);
	z->n = 0;
	(void)!vq_publish(&z->q);
	vq_want_kick(&z->q, op & 0x40 ? (op & 0x10 ? VQ_HALF : VQ_ANY) : VQ_QUIET);
	if (op & 0x08)
		vq_want_less(&z->q);
	assert(z->q.most <= z->q.conf.size);
}

static void feed(struct fuzz *z, struct rd *in)
{
	while (rd_left(in)) {
		uint8_t op = rd_u8(in);
		size_t n = MIN((size_t)rd_u8(in), rd_left(in));
		const uint8_t *p = rd_bytes(in, n);

		for (size_t i = 0; p && i < n; i++)
			z->mem[z->at++ % MEM] = p[i];
		if (op & 0x80)
			z->at = op & 0x1f ? (op & 0x1fu) * 128 : 0;
		/* The device vanishes, and the next one finds what is there. */
		if (z->conf.resume && (op & 0x1f) == 0x1f) {
			z->n = 0;
			if (vq_start(&z->q, &z->m, &z->conf))
				abort();
		}
		work(z, op);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	uint8_t flags = rd_u8(&in), size = rd_u8(&in);
	/* Descriptors first, then the two rings; two regions, so that ranges can lie over the seam. */
	struct vq_conf c = { .size = (uint16_t)(1u << size % 6), .base = rd_be16(&in), .avail = 512, .used = 640 };
	struct vmem_region low = { .guest = GUEST, .size = 4096, .user = 0 };
	struct vmem_region high = { .guest = GUEST + 4096, .size = 4096, .user = 4096, .offset = 4096 };
	struct fuzz *z = calloc(1, sizeof(*z));
	int fd = memfd_create("guest", MFD_CLOEXEC);

	if (!z || fd < 0 || ftruncate(fd, MEM) || vmem_init(&z->m))
		abort();
	z->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (z->mem == MAP_FAILED || vmem_add(&z->m, &low, fd) || vmem_add(&z->m, &high, fd))
		abort();
	c.write = flags & 1;
	c.packed = flags & 8;
	/* Of a packed ring, any size, and a position that its low byte names in one way or the other. */
	if (c.packed) {
		c.size = (uint16_t)(1 + size % 32);
		c.base = (c.base & 0x8000) | (c.base & 0xffu) % c.size | (flags & 16 ? 0x80000000u : 0);
	}
	c.event_idx = flags & 2;
	c.indirect = flags & 4;
	/* Notes in memory that others write to, too. */
	if (flags & 32)
		c.notes = z->mem + NOTES;
	c.resume = flags & 64;
	z->conf = c;
	if (vq_start(&z->q, &z->m, &c))
		abort();
	feed(z, &in);
	vmem_fini(&z->m);
	munmap(z->mem, MEM);
	close(fd);
	free(z);
	return 0;
}
