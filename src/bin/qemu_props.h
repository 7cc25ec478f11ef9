/* SPDX-License-Identifier: MIT */
/*
 * Properties in the argument of a QEMU option, in both forms that QEMU takes: "driver,key=value,flag" with commas in values doubled,
 * and a JSON object. Only the top level is of interest here.
 */
#pragma once

#include "base/defs.h"

#define QEMU_KEY_LEN 64
#define QEMU_VAL_LEN 256

struct qemu_props {
	const char *pos;
	const char *implied; /* key of a first word without "=": "driver" for -device */
	bool json;
	char key[QEMU_KEY_LEN], val[QEMU_VAL_LEN]; /* of the current one; what does not fit is cut */
};

struct qemu_props qemu_props_init(const char *arg, const char *implied);

/* Goes to the next property: false at the end, and at what is no JSON. */
bool qemu_props_next(struct qemu_props *p);

/* Value of the first property called key, cut to QEMU_VAL_LEN; false if there is none. */
bool qemu_prop_get(const char *arg, const char *implied, const char *key, char ret_val[QEMU_VAL_LEN]);
