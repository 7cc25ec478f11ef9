/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "link/vhost/mem.h"

#define PAGE 4096u
#define FILE_LEN (16 * PAGE)

struct world {
	struct vmem m;
	int fd;
	uint8_t *file; /* our own look at it */
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(vmem_init(&w->m), 0);
	w->fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w->fd, FILE_LEN), 0);
	w->file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	assert_ptr_not_equal(w->file, MAP_FAILED);
	for (unsigned i = 0; i < FILE_LEN; i++)
		w->file[i] = (uint8_t)(i * 7 + i / PAGE);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	vmem_fini(&w->m);
	munmap(w->file, FILE_LEN);
	close(w->fd);
	free(w);
	return 0;
}

static int add(struct world *w, uint64_t guest, uint64_t size, uint64_t user, uint64_t offset)
{
	struct vmem_region r = { .guest = guest, .size = size, .user = user, .offset = offset };

	return vmem_add(&w->m, &r, w->fd);
}

static int del(struct world *w, uint64_t guest, uint64_t size, uint64_t user)
{
	struct vmem_region r = { .guest = guest, .size = size, .user = user, .offset = 12345 };

	return vmem_del(&w->m, &r);
}

static int read_at(struct world *w, uint64_t guest, void *dst, size_t len)
{
	return vmem_read(&w->m, guest, dst, len);
}

/* The bytes at guest are those of the file at offset. */
static void assert_bytes(struct world *w, uint64_t guest, size_t len, size_t offset)
{
	struct iovec iov[8];
	struct vmem_iovs v = { .iov = iov, .room = 8 };
	uint8_t *got = malloc(len);

	assert_int_equal(vmem_iov(&w->m, guest, len, &v), 0);
	assert_int_equal(iov_len(iov, v.n), len);
	iov_copy_out(iov, v.n, 0, got, len);
	assert_memory_equal(got, w->file + offset, len);
	free(got);
}

static int look(struct world *w, uint64_t guest, uint64_t len)
{
	struct iovec iov[8];
	struct vmem_iovs v = { .iov = iov, .room = 8 };

	return vmem_iov(&w->m, guest, len, &v);
}

static void test_empty_has_nothing(void **state)
{
	struct world *w = *state;
	uint8_t b;

	assert_int_equal(look(w, 0, 1), -EFAULT);
	assert_int_equal(look(w, UINT64_MAX, 1), -EFAULT);
	assert_int_equal(look(w, 0, 0), 0);
	assert_int_equal(read_at(w, 5, &b, 1), -EFAULT);
	assert_null(vmem_user(&w->m, 0, 0));
	assert_int_equal(del(w, 0, PAGE, 0), -ENOENT);
}

static void test_translation_of_both_addresses(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, 0x100000, 2 * PAGE, 0x7f0000000000, PAGE), 0);
	assert_bytes(w, 0x100000, 2 * PAGE, PAGE);
	assert_bytes(w, 0x100000 + PAGE + 5, PAGE - 5, 2 * PAGE + 5);
	assert_int_equal(look(w, 0x100000 - 1, 1), -EFAULT);
	assert_int_equal(look(w, 0x100000 - 1, 2), -EFAULT);
	assert_int_equal(look(w, 0x100000 + 2 * PAGE, 1), -EFAULT);
	assert_int_equal(look(w, 0x100000 + 2 * PAGE - 1, 2), -EFAULT);
	assert_int_equal(look(w, 0x100000, UINT64_MAX), -EFAULT);
	assert_int_equal(look(w, 0x7f0000000000, 1), -EFAULT);

	assert_non_null(vmem_user(&w->m, 0x7f0000000000, 2 * PAGE));
	assert_memory_equal(vmem_user(&w->m, 0x7f0000000000 + 3, 9), w->file + PAGE + 3, 9);
	assert_null(vmem_user(&w->m, 0x7f0000000000 + 1, 2 * PAGE));
	assert_null(vmem_user(&w->m, 0x7f0000000000 - 1, 1));
	assert_null(vmem_user(&w->m, 0x7f0000000000 + 2 * PAGE, 1));
	assert_null(vmem_user(&w->m, 0x7f0000000000 + 8, UINT64_MAX - 7));
	assert_null(vmem_user(&w->m, 0x100000, 1));
}

static void test_writes_are_seen_by_the_guest(void **state)
{
	struct world *w = *state;
	struct iovec iov[1];
	struct vmem_iovs v = { .iov = iov, .room = 1 };

	assert_int_equal(add(w, 0, PAGE, 0, 3 * PAGE), 0);
	assert_int_equal(vmem_iov(&w->m, 10, 4, &v), 0);
	memcpy(iov[0].iov_base, "abcd", 4);
	assert_memory_equal(w->file + 3 * PAGE + 10, "abcd", 4);
}

/* Regions that follow each other in the guest are one range, wherever they lie in the file; those with a hole between them are not. */
static void test_ranges_over_regions(void **state)
{
	struct world *w = *state;
	struct iovec iov[8];
	struct vmem_iovs v = { .iov = iov, .room = 8 };
	uint8_t got[16];

	assert_int_equal(add(w, 2 * PAGE, PAGE, 2 * PAGE, 9 * PAGE), 0);
	assert_int_equal(add(w, 0, PAGE, 0, 5 * PAGE), 0);
	assert_int_equal(add(w, PAGE, PAGE, PAGE, 2 * PAGE), 0);
	assert_int_equal(add(w, 4 * PAGE, PAGE, 4 * PAGE, 0), 0);

	assert_int_equal(vmem_iov(&w->m, 8, 3 * PAGE - 8, &v), 0);
	iov_copy_out(iov, v.n, PAGE - 16, got, 16);
	assert_memory_equal(got, w->file + 5 * PAGE + PAGE - 8, 8);
	assert_memory_equal(got + 8, w->file + 2 * PAGE, 8);
	assert_int_equal(look(w, 0, 3 * PAGE + 1), -EFAULT);
	assert_int_equal(look(w, 3 * PAGE - 1, PAGE + 2), -EFAULT);

	assert_int_equal(read_at(w, 2 * PAGE - 8, got, 16), 0);
	assert_memory_equal(got, w->file + 2 * PAGE + PAGE - 8, 8);
	assert_memory_equal(got + 8, w->file + 9 * PAGE, 8);
	assert_int_equal(read_at(w, 3 * PAGE - 8, got, 16), -EFAULT);
	/* A ring has to lie in one. */
	assert_null(vmem_user(&w->m, PAGE - 1, 2));
}

static void test_iovs_append_and_run_out(void **state)
{
	struct world *w = *state;
	struct iovec iov[2];
	struct vmem_iovs v = { .iov = iov, .room = 2 };

	assert_int_equal(add(w, 0, FILE_LEN, 0, 0), 0);
	assert_int_equal(vmem_iov(&w->m, 0, 100, &v), 0);
	assert_int_equal(vmem_iov(&w->m, 100, 28, &v), 0);
	assert_int_equal(v.n, 1); /* neighbours are one piece */
	assert_int_equal(iov[0].iov_len, 128);
	assert_int_equal(vmem_iov(&w->m, 200, 50, &v), 0);
	assert_int_equal(v.n, 2);
	assert_int_equal(vmem_iov(&w->m, 250, 6, &v), 0);
	assert_int_equal(iov[1].iov_len, 56);
	assert_int_equal(vmem_iov(&w->m, 300, 0, &v), 0);
	assert_int_equal(vmem_iov(&w->m, 300, 1, &v), -ENOBUFS);
	assert_int_equal(v.n, 2);
}

static void test_bad_regions(void **state)
{
	struct world *w = *state;
	int pair[2];
	struct vmem_region r = { .size = PAGE };

	assert_int_equal(add(w, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(add(w, UINT64_MAX - PAGE + 1, PAGE, 0, 0), -EINVAL);
	assert_int_equal(add(w, 0, PAGE, UINT64_MAX - 5, 0), -EINVAL);
	assert_int_equal(add(w, 0, PAGE, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(add(w, 0, PAGE, 0, INT64_MAX - 4), -EINVAL);
	assert_int_equal(add(w, 0, UINT64_MAX, 0, 0), -EINVAL);
	assert_int_equal(add(w, 0, INT64_MAX, 0, 0), -EFBIG);
	assert_int_equal(add(w, 0, FILE_LEN + 1, 0, 0), -EFBIG);
	assert_int_equal(add(w, 0, FILE_LEN, 0, 1), -EFBIG);
	assert_int_equal(add(w, 0, PAGE, 0, FILE_LEN), -EFBIG);
	assert_int_equal(vmem_add(&w->m, &r, -1), -EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vmem_add(&w->m, &r, pair[0]), -ENODEV);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(w->m.n, 0);
	assert_int_equal(add(w, UINT64_MAX - PAGE, PAGE, 0, 0), 0);
	assert_bytes(w, UINT64_MAX - PAGE, PAGE, 0);
	assert_int_equal(look(w, UINT64_MAX - 1, 2), -EFAULT);
}

static void test_overlaps(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, 4 * PAGE, 2 * PAGE, 0, 0), 0);
	assert_int_equal(add(w, 4 * PAGE, 2 * PAGE, 0x900000, 0), -EEXIST);
	assert_int_equal(add(w, 5 * PAGE, PAGE, 0x900000, 0), -EEXIST);
	assert_int_equal(add(w, 3 * PAGE, 2 * PAGE, 0x900000, 0), -EEXIST);
	assert_int_equal(add(w, 3 * PAGE, 4 * PAGE, 0x900000, 0), -EEXIST);
	assert_int_equal(add(w, 3 * PAGE, PAGE, 0x900000, 0), 0);
	assert_int_equal(add(w, 6 * PAGE, PAGE, 0, 0), 0);
	assert_int_equal(w->m.n, 3);
}

/* A front-end with several pairs of queues adds each region once for every pair, and takes it away as often. */
static void test_added_twice(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(add(w, 4 * PAGE, 2 * PAGE, 0x900000, PAGE), 0);
	assert_int_equal(w->m.n, 1);
	assert_int_equal(add(w, 4 * PAGE, 2 * PAGE, 0x900000, 0), -EEXIST);
	assert_int_equal(add(w, 4 * PAGE, PAGE, 0x900000, PAGE), -EEXIST);
	for (unsigned i = 0; i < 3; i++) {
		assert_bytes(w, 4 * PAGE, 2 * PAGE, PAGE);
		assert_int_equal(del(w, 4 * PAGE, 2 * PAGE, 0x900000), 0);
	}
	assert_int_equal(look(w, 4 * PAGE, 1), -EFAULT);
	assert_int_equal(del(w, 4 * PAGE, 2 * PAGE, 0x900000), -ENOENT);
	/* A new table counts anew. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(add(w, 4 * PAGE, PAGE, 0x900000, 0), 0);
		assert_int_equal(add(w, 4 * PAGE, PAGE, 0x900000, 0), 0);
		vmem_clear(&w->m);
	}
	assert_int_equal(add(w, 4 * PAGE, PAGE, 0x900000, 0), 0);
	assert_int_equal(del(w, 4 * PAGE, PAGE, 0x900000), 0);
	assert_int_equal(w->m.n, 0);
}

/* Offsets and sizes need not be whole pages. */
static void test_odd_offset_and_size(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, 0x1234, 77, 0x5000, PAGE + 1001), 0);
	assert_bytes(w, 0x1234, 77, PAGE + 1001);
	assert_int_equal(look(w, 0x1234 + 77, 1), -EFAULT);
	assert_memory_equal(vmem_user(&w->m, 0x5000, 77), w->file + PAGE + 1001, 77);
}

static void test_remove(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(add(w, 2 * i * PAGE, PAGE, i * PAGE, i * PAGE), 0);
	assert_int_equal(del(w, 2 * PAGE, 2 * PAGE, PAGE), -ENOENT);
	assert_int_equal(del(w, 2 * PAGE, PAGE, 0), -ENOENT);
	assert_int_equal(del(w, 2 * PAGE + 1, PAGE, PAGE), -ENOENT);
	assert_int_equal(del(w, 2 * PAGE, PAGE, PAGE), 0);
	assert_int_equal(del(w, 2 * PAGE, PAGE, PAGE), -ENOENT);
	assert_int_equal(look(w, 2 * PAGE, 1), -EFAULT);
	assert_bytes(w, 0, PAGE, 0);
	assert_bytes(w, 4 * PAGE, PAGE, 2 * PAGE);
	assert_bytes(w, 6 * PAGE, PAGE, 3 * PAGE);
	/* Its place is free again. */
	assert_int_equal(add(w, 2 * PAGE, 2 * PAGE, PAGE, 8 * PAGE), 0);
	assert_bytes(w, 2 * PAGE, 2 * PAGE, 8 * PAGE);
	vmem_clear(&w->m);
	assert_int_equal(look(w, 0, 1), -EFAULT);
	assert_null(vmem_user(&w->m, 0, 1));
}

static void test_as_many_as_there_may_be(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < VMEM_REGIONS; i++) {
		unsigned k = i * 37 % VMEM_REGIONS; /* in no order */

		assert_int_equal(add(w, (uint64_t)k << 20, PAGE, (uint64_t)k << 30, k % 16 * PAGE), 0);
	}
	assert_int_equal(add(w, (uint64_t)VMEM_REGIONS << 20, PAGE, 0, 0), -ENOSPC);
	for (unsigned k = 0; k < VMEM_REGIONS; k++) {
		assert_bytes(w, ((uint64_t)k << 20) + 100, 16, k % 16 * PAGE + 100);
		assert_int_equal(look(w, ((uint64_t)k << 20) + PAGE, 1), -EFAULT);
	}
	for (unsigned k = 0; k < VMEM_REGIONS; k += 2)
		assert_int_equal(del(w, (uint64_t)k << 20, PAGE, (uint64_t)k << 30), 0);
	assert_int_equal(look(w, 4u << 20, 1), -EFAULT);
	assert_bytes(w, 5u << 20, PAGE, 5 * PAGE);
}

static void test_back_to_guest_addresses(void **state)
{
	struct world *w = *state;
	struct iovec iov[1];
	struct vmem_iovs v = { .iov = iov, .room = 1 };
	uint64_t guest = 0;

	assert_int_equal(add(w, 0x10000, PAGE, 0, 100), 0);
	assert_int_equal(vmem_iov(&w->m, 0x10010, 1, &v), 0);
	assert_int_equal(vmem_guest(&w->m, iov[0].iov_base, &guest), 0);
	assert_int_equal(guest, 0x10010);
	assert_int_equal(vmem_guest(&w->m, (uint8_t *)iov[0].iov_base - 0x11, &guest), -EFAULT);
	assert_int_equal(vmem_guest(&w->m, (uint8_t *)iov[0].iov_base + PAGE - 0x11, &guest), 0);
	assert_int_equal(vmem_guest(&w->m, (uint8_t *)iov[0].iov_base + PAGE - 0x10, &guest), -EFAULT);
	assert_int_equal(vmem_guest(&w->m, w->file, &guest), -EFAULT);
}

/* The front-end cuts its file off: the guest gets zeros from us, and we live on. */
static void test_file_cut_short(void **state)
{
	struct world *w = *state;
	uint8_t got[16], zero[16] = { 0 };

	/* The test program puts a handler of its own in place for each test. */
	vmem_fini(&w->m);
	assert_int_equal(vmem_init(&w->m), 0);
	assert_int_equal(add(w, 0, 8 * PAGE, 0, 0), 0);
	assert_int_equal(add(w, 8 * PAGE, PAGE, 0x100000, 0), 0);
	assert_int_equal(ftruncate(w->fd, PAGE), 0);
	assert_int_equal(read_at(w, 0, got, 16), 0);
	assert_memory_equal(got, w->file, 16);
	assert_false(vmem_torn(&w->m));

	assert_int_equal(read_at(w, 4 * PAGE, got, 16), 0);
	assert_memory_equal(got, zero, 16);
	assert_true(vmem_torn(&w->m));
	assert_int_equal(read_at(w, 0, got, 16), 0);
	assert_memory_equal(got, zero, 16);
	/* Another region is another matter. */
	assert_int_equal(read_at(w, 8 * PAGE, got, 16), 0);
	assert_memory_equal(got, w->file, 16);
	vmem_clear(&w->m);
	assert_false(vmem_torn(&w->m));
	assert_int_equal(add(w, 0, 2 * PAGE, 0, 0), -EFBIG);
	assert_int_equal(add(w, 0, PAGE, 0, 0), 0);
	assert_bytes(w, 0, PAGE, 0);
}

/* Random regions and ranges against a twin that knows each page. */
static void test_twin(void **state)
{
	struct world *w = *state;
	int page_of[64];
	uint32_t seed = 1;

	for (unsigned i = 0; i < 64; i++)
		page_of[i] = -1;
	for (unsigned round = 0; round < 4000; round++) {
		unsigned at, n, off;
		bool was_free = true, all = true;

		seed = seed * 1664525u + 1013904223u;
		at = seed >> 8 & 63;
		n = 1 + (seed >> 14 & 3);
		off = seed >> 16 & 7;
		for (unsigned i = at; i < at + n; i++) {
			was_free = was_free && (i >= 64 || page_of[i] < 0);
			all = all && i < 64 && page_of[i] >= 0;
		}
		if (at + n > 64)
			continue;
		assert_int_equal(look(w, at * PAGE, n * PAGE), all ? 0 : -EFAULT);
		if (seed >> 28 < 6) {
			int err = add(w, at * PAGE, n * PAGE, at * PAGE, off * PAGE);

			/* The very region may be added once more. */
			if (!was_free && !err) {
				for (unsigned i = 0; i < n; i++)
					assert_int_equal(page_of[at + i], off + i);
				err = del(w, at * PAGE, n * PAGE, at * PAGE) ? 1 : -EEXIST;
			}
			assert_int_equal(err, was_free ? 0 : -EEXIST);
			for (unsigned i = 0; was_free && i < n; i++)
				page_of[at + i] = (int)(off + i);
		} else if (!del(w, at * PAGE, n * PAGE, at * PAGE)) {
			for (unsigned i = 0; i < n; i++) {
				assert_true(page_of[at + i] >= 0);
				page_of[at + i] = -1;
			}
		}
		if (page_of[at] >= 0)
			assert_bytes(w, at * PAGE + 17, PAGE - 17, (size_t)page_of[at] * PAGE + 17);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty_has_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_translation_of_both_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writes_are_seen_by_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges_over_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iovs_append_and_run_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlaps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_added_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_offset_and_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_as_many_as_there_may_be, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_to_guest_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_twin, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
