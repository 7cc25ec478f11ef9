/* SPDX-License-Identifier: MIT */
/* Memory that only the start needed. */
#pragma once

/*
 * To be called once at the end of the start: gives back what the stack held beyond the caller, what free() left, and takes the pages of
 * program and libraries that cannot be written out of the page table. Those that are needed again come back from the page cache one by
 * one.
 */
void settle_memory(void);
