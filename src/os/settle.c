/* SPDX-License-Identifier: MIT */
#include "os/settle.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/defs.h"

#define STACK_MAX (512u << 10) /* less than the kernel keeps free below a stack */
#define STACK_NEAR 4096u /* what this function and those that it calls use of it */

/* Where code was relocated in place its pages are no longer those of the file. */
static bool has_textrel(const struct dl_phdr_info *info)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Dyn) * d;

		if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		for (d = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); d->d_tag != DT_NULL; d++) {
			if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
				return true;
		}
	}
	return false;
}

static int object_drop(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uintptr_t page = *(const uintptr_t *)ctx;

	(void)size;
	if (has_textrel(info))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t from = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		uintptr_t to = (info->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & ~(page - 1);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)!madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

void settle_memory(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t here = ((uintptr_t)__builtin_frame_address(0) - STACK_NEAR) & ~(page - 1);

#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
	(void)!madvise((void *)(here - STACK_MAX), STACK_MAX, MADV_DONTNEED);
	(void)dl_iterate_phdr(object_drop, &page);
}
