/* SPDX-License-Identifier: MIT */
#include "os/filemap.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_LEN 4096u

int filemap_open(int fd, uint64_t len, uint64_t offset, struct filemap *ret_map)
{
	struct filemap f;
	struct stat st;
	uint64_t page, skip;

	if (!len || offset > INT64_MAX || len > (uint64_t)INT64_MAX - offset)
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	/* A device has no size that could be compared. */
	if (S_ISREG(st.st_mode) && (st.st_size < 0 || offset + len > (uint64_t)st.st_size))
		return -EFBIG;
	/* Of huge pages only whole ones can be mapped; the file system tells their size here. */
	page = (uint64_t)MAX(st.st_blksize, (blksize_t)PAGE_LEN);
	if (page & (page - 1))
		page = PAGE_LEN;
	skip = offset & (page - 1);
	if (len > SIZE_MAX - 2 * page)
		return -EINVAL;
	f.map_len = (size_t)((skip + len + page - 1) & ~(page - 1));
	f.map = mmap(NULL, f.map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - skip));
	if (f.map == MAP_FAILED)
		return -errno;
	f.at = (uint8_t *)f.map + skip;
	*ret_map = f;
	return 0;
}

void filemap_close(struct filemap *f)
{
	if (f->at)
		munmap(f->map, f->map_len);
	*f = (struct filemap){ .at = NULL };
}

bool filemap_holds(const struct filemap *f, const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)f->map < f->map_len;
}

bool filemap_replace(const struct filemap *f)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	/* All of it: pages of a huge page can't be replaced one by one. */
	return mmap(f->map, f->map_len, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}
