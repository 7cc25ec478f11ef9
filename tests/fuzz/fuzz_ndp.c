/* SPDX-License-Identifier: MIT */
#include "service_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return target_run(data, len, 0x86dd, 58);
}
