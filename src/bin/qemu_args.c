/* SPDX-License-Identifier: MIT */
#include "bin/qemu_args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bin/qemu_props.h"

#define ADDED 5 /* -netdev X -device Y, NULL */

/* What a kind of machine wants as its interface, and what says where a device is plugged in. The last one is for all others. */
struct machine {
	const char *type; /* part of the name of the machine */
	const char *driver;
	const char *slot[2];
};

static const struct machine machines[] = {
	{ "s390-ccw", "virtio-net-ccw", { "devno", NULL } },
	{ "microvm", "virtio-net-device", { NULL, NULL } },
	{ "", "virtio-net-pci", { "bus", "addr" } },
};

struct rewrite {
	const struct machine *machine;
	const char *nic; /* argument of the first interface that was left out, or NULL */
	const char *nic_implied; /* its implied key */
	bool query;
};

static const struct machine *machine_find(const char *name)
{
	const struct machine *m = machines;

	while (!strstr(name, m->type))
		m++;
	return m;
}

/* Any option's argument may ask for a list instead. */
static bool is_help(const char *arg)
{
	size_t len = strlen(arg);

	return !strcmp(arg, "help") || !strcmp(arg, "?") || (len > 5 && !strcmp(arg + len - 5, ",help")) ||
	       (len > 2 && !strcmp(arg + len - 2, ",?"));
}

static bool driver_is_nic(const char *driver)
{
	static const char *const nic[] = {
		"virtio-net", "vhost-user-net", "e1000", "igb",        "rtl8139", "ne2k_",  "pcnet",  "i825",
		"vmxnet3",    "usb-net",        "tulip", "spapr-vlan", "lan9118", "sunhme", "rocker", "xen-net-device",
	};

	for (size_t i = 0; i < ARRAY_SIZE(nic); i++) {
		if (!strncmp(driver, nic[i], strlen(nic[i])))
			return true;
	}
	return false;
}

static void note_nic(struct rewrite *r, const char *arg, const char *implied)
{
	if (r->nic)
		return;
	r->nic = arg;
	r->nic_implied = implied;
}

/* The handlers tell whether the option stays. */
static bool on_device(struct rewrite *r, const char *arg)
{
	char driver[QEMU_VAL_LEN], netdev[QEMU_VAL_LEN];
	bool nic = qemu_prop_get(arg, "driver", "netdev", netdev);

	if (!nic)
		nic = qemu_prop_get(arg, "driver", "driver", driver) && driver_is_nic(driver);
	if (nic)
		note_nic(r, arg, "driver");
	return !nic;
}

static bool on_machine(struct rewrite *r, const char *arg)
{
	char type[QEMU_VAL_LEN];

	if (qemu_prop_get(arg, "type", "type", type)) {
		r->query |= !strcmp(type, "none");
		r->machine = machine_find(type);
	}
	return true;
}

static bool on_nic(struct rewrite *r, const char *arg)
{
	note_nic(r, arg, "type");
	return false;
}

/* "-net nic" is an interface; "-net user" and the like are what it is connected to. */
static bool on_net(struct rewrite *r, const char *arg)
{
	char type[QEMU_VAL_LEN];

	if (qemu_prop_get(arg, "type", "type", type) && !strcmp(type, "nic"))
		note_nic(r, arg, "type");
	return false;
}

static bool on_netdev(struct rewrite *r, const char *arg)
{
	return false;
}

static bool on_text(struct rewrite *r, const char *arg)
{
	return true;
}

static bool on_query(struct rewrite *r, const char *arg)
{
	r->query = true;
	return true;
}

struct option {
	const char *name;
	bool has_arg;
	bool (*fn)(struct rewrite *r, const char *arg);
};

static const struct option
	options[] = {
		{ "net", true, on_net },       { "netdev", true, on_netdev },   { "nic", true, on_nic },
		{ "device", true, on_device }, { "machine", true, on_machine }, { "M", true, on_machine },
		{ "append", true, on_text }, /* may look like an option itself */
		{ "cpu", true, on_text },      { "version", false, on_query },  { "help", false, on_query },
		{ "h", false, on_query },
	};

static const struct option *option_find(const char *word)
{
	if (*word++ != '-')
		return NULL;
	if (*word == '-')
		word++;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!strcmp(word, options[i].name))
			return &options[i];
	}
	return NULL;
}

/* Copies to out what stays; returns the number of words. */
static size_t rewrite_words(struct rewrite *r, char **argv, char **out)
{
	size_t n = 0;

	for (char **a = argv; *a; a++) {
		const struct option *o = a == argv ? NULL : option_find(*a);
		bool has_arg = o && o->has_arg && a[1];

		/* An option that lacks its argument is QEMU's to complain about. */
		if (!o || (o->has_arg && !has_arg)) {
			out[n++] = *a;
			continue;
		}
		if (has_arg && is_help(a[1]) && o->fn != on_text)
			r->query = true;
		if (o->fn(r, a[1])) {
			out[n++] = *a;
			if (has_arg)
				out[n++] = a[1];
		}
		if (has_arg)
			a++;
	}
	return n;
}

struct text {
	char *buf;
	size_t size, at;
};

/* ",key=value" with the commas of the value doubled; all of it or nothing. */
static void text_prop(struct text *t, const char *key, const char *val)
{
	size_t need = strlen(key) + 2, at = t->at;

	for (const char *c = val; *c; c++)
		need += *c == ',' ? 2 : 1;
	if (need >= t->size - at)
		return;
	at += (size_t)snprintf(t->buf + at, t->size - at, ",%s=", key);
	for (const char *c = val; *c; c++) {
		if (*c == ',')
			t->buf[at++] = ',';
		t->buf[at++] = *c;
	}
	t->buf[at] = '\0';
	t->at = at;
}

/* A property of the interface that was left out, under one of the names that it has in -device and -net. */
static void text_keep(struct text *t, const struct rewrite *r, const char *name, const char *key)
{
	char val[QEMU_VAL_LEN];

	if (name && qemu_prop_get(r->nic, r->nic_implied, name, val))
		text_prop(t, key, val);
}

static bool nic_is_usb(const struct rewrite *r)
{
	char driver[QEMU_VAL_LEN];

	return qemu_prop_get(r->nic, r->nic_implied, "driver", driver) && !strncmp(driver, "usb-", 4);
}

static void device_fmt(const struct rewrite *r, char *buf, size_t size)
{
	struct text t = { .buf = buf, .size = size };

	t.at = (size_t)snprintf(buf, size, "%s,netdev=hostnet0,x-txburst=4096", r->machine->driver);
	if (!r->nic)
		return;
	text_keep(&t, r, "id", "id");
	text_keep(&t, r, "mac", "mac");
	text_keep(&t, r, "macaddr", "mac");
	text_keep(&t, r, "bootindex", "bootindex");
	/* The port of a USB hub is no place for a PCI device: QEMU finds one. */
	if (nic_is_usb(r) || strcmp(r->nic_implied, "driver"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(r->machine->slot); i++)
		text_keep(&t, r, r->machine->slot[i], r->machine->slot[i]);
}

int qemu_args_rewrite(struct qemu_args *ret, char **argv, int fd)
{
	struct rewrite r = { .machine = machine_find(strstr(argv[0], "s390x") ? "s390-ccw" : "") };
	size_t n = 0;
	char **out;

	while (argv[n])
		n++;
	out = calloc(n + ADDED, sizeof(*out));
	if (!out)
		return -ENOMEM;
	n = rewrite_words(&r, argv, out);
	*ret = (struct qemu_args){ .argv = out, .query = r.query };
	if (r.query) {
		for (n = 0; argv[n]; n++)
			out[n] = argv[n];
		return 0;
	}

	/* At the end, where all devices with an address of their own have their place already. */
	snprintf(ret->netdev, sizeof(ret->netdev), "socket,fd=%d,id=hostnet0", fd);
	device_fmt(&r, ret->device, sizeof(ret->device));
	out[n++] = (char *)"-netdev";
	out[n++] = ret->netdev;
	out[n++] = (char *)"-device";
	out[n++] = ret->device;
	return 0;
}

void qemu_args_free(struct qemu_args *a)
{
	free(a->argv);
	a->argv = NULL;
}
