/* SPDX-License-Identifier: MIT */
#include "os/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"

static int device_make(int fd, const char *name, bool vnet)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0)) };

	memcpy(ifr.ifr_name, name, strnlen(name, sizeof(ifr.ifr_name)));
	return ioctl(fd, TUNSETIFF, &ifr) ? -errno : 0;
}

/* The header without num_buffers, which means nothing to a tap device, and is what it starts with. */
static int header_set(int fd)
{
	int len = sizeof(struct virtio_net_hdr);

	return ioctl(fd, TUNSETVNETHDRSZ, &len) ? -errno : 0;
}

/* The most that the kernel knows: UDP came with 6.2. */
static uint32_t offloads_set(int fd)
{
	static const uint32_t sets[] = {
		TUN_CSUM | TUN_TSO4 | TUN_TSO6 | TUN_TSO_ECN | TUN_USO4 | TUN_USO6,
		TUN_CSUM | TUN_TSO4 | TUN_TSO6 | TUN_TSO_ECN,
		TUN_CSUM | TUN_TSO4 | TUN_TSO6,
		TUN_CSUM,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)sets[i]))
			return sets[i];
	}
	return 0;
}

static int device_setup(const char *name, bool vnet, struct tun *t)
{
	int err = device_make(t->fd, name, vnet);

	if (err || !vnet)
		return err;
	err = header_set(t->fd);
	if (err)
		return err;
	t->vnet_hdr_len = sizeof(struct virtio_net_hdr);
	t->offloads = offloads_set(t->fd);
	return 0;
}

static const char *open_hint(int err)
{
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		return " (the module tun has to be loaded, and a container to be given the device)";
	if (err == -EACCES || err == -EPERM)
		return " (the device has to be open to the user, and to the container)";
	return "";
}

/* The kernel says the first for a tap device that somebody uses, the other for an interface of another kind, and for a bad name. */
static const char *make_hint(int err)
{
	if (err == -EBUSY || err == -EINVAL)
		return " (there may be an interface of that name: --ns-ifname chooses another one)";
	if (err == -EPERM)
		return " (there is no right to set up interfaces in this network namespace: see --userns)";
	return "";
}

void tun_leave(int fd)
{
	if (ioctl(fd, TUNSETPERSIST, 1UL))
		log_debug("Couldn't leave the tap device to its namespace: %s", strerror(errno));
}

int tun_open(const char *name, bool vnet, struct tun *ret_tun)
{
	struct tun t = { .fd = -1 };
	int err = -EINVAL;

	if (strnlen(name, IFNAMSIZ) == IFNAMSIZ)
		return -ENAMETOOLONG;
	/* A descriptor that got a device, even if not all of it worked, can't get another one. */
	for (int with = vnet; err && with >= 0; with--) {
		if (t.fd >= 0)
			close(t.fd);
		t = (struct tun){ .fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC) };
		if (t.fd < 0) {
			err = -errno;
			log_err("Failed to open() " TUN_PATH ": %s%s", strerror(-err), open_hint(err));
			return err;
		}
		err = device_setup(name, with, &t);
	}
	if (err) {
		log_err("Couldn't make tap device %s: %s%s", name, strerror(-err), make_hint(err));
		close(t.fd);
		return err;
	}
	*ret_tun = t;
	return 0;
}
