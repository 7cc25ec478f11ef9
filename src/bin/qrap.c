/* SPDX-License-Identifier: MIT */
/*
 * qrap: connects to passt, then becomes QEMU (or any command) with the connection as an open descriptor. For programs that can't make
 * QEMU connect by itself; qrap(1).
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/csum.h"
#include "base/num.h"
#include "base/rd.h"
#include "base/wr.h"
#include "bin/qemu_args.h"

#define SOCKETS_MAX 99
#define SOCKET_PATH "/tmp/passt_%u.socket"

#define FD_DEFAULT 5
#define FD_MIN 3

#define PROBE_TIMEOUT_MS 500
#define RESETS_MAX 50
#define RESET_WAIT_MS 50

#define FRAME_MIN 14 /* an Ethernet header */
#define FRAME_MAX 65535

#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd
#define PROTO_ICMPV6 58
#define ND_NS 135

static void usage(const char *name)
{
	fprintf(stderr,
		"Usage: %s FD COMMAND [ARG]...\n"
		"       %s [QEMU-ARG]...\n"
		"\n"
		"Connect to the first passt that answers on /tmp/passt_1.socket to /tmp/passt_%i.socket, then run\n"
		"COMMAND with the connection as descriptor FD (%i or more), or QEMU with the connection as its network.\n",
		name, name, SOCKETS_MAX, FD_MIN);
	exit(EXIT_FAILURE);
}

/* An ARP request (RFC 826) without any address, as a frame of the stream. */
static void probe_arp(struct wr *w)
{
	wr_be32(w, 42);
	wr_zero(w, 2 * MAC_LEN);
	wr_be16(w, ETHERTYPE_ARP);
	wr_be16(w, 1); /* Ethernet */
	wr_be16(w, 0x0800);
	wr_u8(w, MAC_LEN);
	wr_u8(w, 4);
	wr_be16(w, 1); /* request */
	wr_zero(w, 2 * (MAC_LEN + 4));
}

/* A neighbour solicitation (RFC 4861 4.3) from the loopback address: no guest has it, so nobody will be taken for it. */
static void probe_ns(struct wr *w)
{
	const struct addr src = addr_loopback6, dst = { .b = { 0xff, 2, [11] = 1, 0xff, [15] = 1 } },
			  target = { .b = { 0xfe, 0x80, [15] = 1 } };
	uint8_t msg[24] = { 0 };
	struct wr m = wr_init(msg, sizeof(msg));

	wr_u8(&m, ND_NS);
	wr_zero(&m, 7);
	wr_bytes(&m, target.b, sizeof(target.b));
	wr_patch_be16(&m, 2, csum_fold(csum_add(msg, sizeof(msg), csum_pseudo(&src, &dst, PROTO_ICMPV6, sizeof(msg)))));

	wr_be32(w, 14 + 40 + sizeof(msg));
	wr_zero(w, 2 * MAC_LEN);
	wr_be16(w, ETHERTYPE_IPV6);
	wr_be32(w, UINT32_C(6) << 28);
	wr_be16(w, sizeof(msg));
	wr_u8(w, PROTO_ICMPV6);
	wr_u8(w, 255);
	wr_bytes(w, src.b, sizeof(src.b));
	wr_bytes(w, dst.b, sizeof(dst.b));
	wr_bytes(w, msg, sizeof(msg));
}

static int timeout_set(int s, unsigned ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) || setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)))
		return -errno;
	return 0;
}

/* All of len bytes, or -errno: -EPIPE if the stream or the time ends before them. */
static int recv_all(int s, void *buf, size_t len)
{
	ssize_t n = recv(s, buf, len, MSG_WAITALL);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EPIPE;
}

/* Asks for an answer, and takes one whole frame of it: what follows in the stream is for the command, and begins with a frame. */
static int probe(int s)
{
	static uint8_t buf[FRAME_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	ssize_t n;
	struct rd r;
	size_t len;
	int rc;

	probe_arp(&w);
	probe_ns(&w);
	n = send(s, buf, wr_len(&w), MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	if ((size_t)n != wr_len(&w))
		return -EAGAIN;

	rc = recv_all(s, buf, sizeof(uint32_t));
	if (rc)
		return rc;
	r = rd_init(buf, sizeof(uint32_t));
	len = rd_be32(&r);
	if (len < FRAME_MIN || len > FRAME_MAX)
		return -EBADMSG;
	return recv_all(s, buf, len);
}

/* -errno of connect() itself in *ret_connect, 0 if what failed came later. */
static int connect_once(const char *path, int *ret_connect, int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int s, rc;

	*ret_connect = 0;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (s < 0)
		return *ret_connect = -errno;
	rc = timeout_set(s, PROBE_TIMEOUT_MS);
	if (!rc && connect(s, (struct sockaddr *)&sun, sizeof(sun)))
		rc = *ret_connect = -errno;
	if (!rc)
		rc = probe(s);
	if (!rc)
		rc = timeout_set(s, 0);
	if (rc) {
		close(s);
		return rc;
	}
	*ret_fd = s;
	return 0;
}

/* A passt that still has another client, or is just about to lose it, resets new ones: give it some time. */
static int connect_path(const char *path, int *ret_connect, int *ret_fd)
{
	const struct timespec wait = { .tv_nsec = RESET_WAIT_MS * 1000000L };
	int rc;

	for (unsigned i = 0; i < RESETS_MAX; i++) {
		rc = connect_once(path, ret_connect, ret_fd);
		if (rc != -ECONNRESET)
			return rc;
		nanosleep(&wait, NULL);
	}
	return rc;
}

/* The first socket with a passt that answers; exits if there is none. */
static int connect_any(void)
{
	bool seen = false;

	for (unsigned i = 1; i <= SOCKETS_MAX; i++) {
		char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
		int fd = -1, err, rc;

		snprintf(path, sizeof(path), SOCKET_PATH, i);
		rc = connect_path(path, &err, &fd);
		if (!rc) {
			fprintf(stderr, "Connected to %s\n", path);
			return fd;
		}
		if (err == -ENOENT)
			continue;
		seen = true;
		if (err)
			fprintf(stderr, "connect: %s: %s\n", path, strerror(-err));
		else
			fprintf(stderr, "Probe of %s failed: %s\n", path, strerror(-rc));
	}
	if (!seen)
		fprintf(stderr, "connect: %s\n", strerror(ENOENT));
	fprintf(stderr, "No passt to connect to\n");
	exit(EXIT_FAILURE);
}

/* Leaves the connection behind as descriptor want, open across exec. */
static void connect_as(int want)
{
	int s = connect_any();

	if (dup2(s, want) < 0) {
		fprintf(stderr, "Descriptor %d: %s\n", want, strerror(errno));
		exit(EXIT_FAILURE);
	}
	if (s != want)
		close(s);
}

static bool is_executable(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* As execvp(3) looks for it: false if there is no such program. */
static bool in_path(const char *name)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (strchr(name, '/'))
		return is_executable(name);
	for (path = path ? path : "/bin:/usr/bin"; path; path = strchr(path, ':') ? strchr(path, ':') + 1 : NULL) {
		int len = (int)strcspn(path, ":");

		if (snprintf(file, sizeof(file), "%.*s%s%s", len, path, len ? "/" : "", name) < (int)sizeof(file) &&
		    is_executable(file))
			return true;
	}
	return false;
}

/* QEMU's name for the machine that we run on. */
static const char *arch(void)
{
	static const struct {
		const char *machine, *qemu;
	} names[] = {
		{ "i386", "i386" },  { "i486", "i386" },  { "i586", "i386" },     { "i686", "i386" },   { "armv6l", "arm" },
		{ "armv7l", "arm" }, { "armv8l", "arm" }, { "ppc64le", "ppc64" }, { "sparc", "sparc" }, { "parisc", "hppa" },
	};
	static struct utsname u;

	if (uname(&u))
		return "x86_64";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(u.machine, names[i].machine))
			return names[i].qemu;
	}
	return u.machine;
}

/* The QEMU to run: that of the distribution, that of this machine, any other. NULL if there is none. */
static const char *find_qemu(void)
{
	static char own[sizeof("qemu-system-") + sizeof(((struct utsname *)0)->machine)];
	const char *const names[] = {
		"qemu-kvm",
		own,
		"qemu-system-x86_64",
		"qemu-system-i386",
		"qemu-system-aarch64",
		"qemu-system-arm",
		"qemu-system-ppc64",
		"qemu-system-s390x",
		"qemu-system-riscv64",
		"qemu-system-loongarch64",
		"/usr/libexec/qemu-kvm",
	};

	snprintf(own, sizeof(own), "qemu-system-%s", arch());
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (in_path(names[i]))
			return names[i];
	}
	return NULL;
}

static void run(char **argv)
{
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	exit(EXIT_FAILURE);
}

static void run_qemu(char **argv)
{
	const char *qemu = find_qemu();
	struct qemu_args args;

	if (!qemu) {
		fprintf(stderr, "%s: no QEMU found\n", argv[0]);
		exit(EXIT_FAILURE);
	}
	argv[0] = (char *)qemu;
	if (qemu_args_rewrite(&args, argv, FD_DEFAULT)) {
		fprintf(stderr, "Out of memory\n");
		exit(EXIT_FAILURE);
	}
	if (!args.query)
		connect_as(FD_DEFAULT);
	run(args.argv);
}

int main(int argc, char **argv)
{
	uint64_t fd;

	if (argc < 2)
		usage(argc ? argv[0] : "qrap");
	if (!num_parse(argv[1], 0, INT_MAX, &fd)) {
		if (fd < FD_MIN || argc < 3 || !in_path(argv[2]))
			usage(argv[0]);
		connect_as((int)fd);
		run(argv + 2);
	}
	run_qemu(argv);
}
