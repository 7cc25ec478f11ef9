/* SPDX-License-Identifier: MIT */
/* The arguments of a QEMU command line with its network replaced by a connected socket. Nothing is opened or looked up here. */
#pragma once

#include "base/defs.h"

#define QEMU_NETDEV_LEN 64
#define QEMU_DEVICE_LEN 2048

struct qemu_args {
	char **argv; /* NULL-terminated; the array is of qemu_args_rewrite(), the words are the caller's and the two below */
	bool query; /* nothing will run (-version, -machine none, -device help): argv is unchanged */
	char netdev[QEMU_NETDEV_LEN];
	char device[QEMU_DEVICE_LEN];
};

/*
 * argv: the arguments for QEMU, beginning with its name (which tells the machine where no option does), NULL-terminated. -net, -netdev,
 * -nic and network interfaces given by -device are left out; one netdev on descriptor fd and one virtio-net device take their place,
 * the device with the identity and the bus address of the first interface that was left out. *ret is used in place: don't copy it.
 * -ENOMEM.
 */
MUST_USE int qemu_args_rewrite(struct qemu_args *ret, char **argv, int fd);
void qemu_args_free(struct qemu_args *a);
