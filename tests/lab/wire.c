/* SPDX-License-Identifier: MIT */
/*
 * A wire between a tap device and the stream socket of passt: makes a network namespace the guest, with a real kernel at full speed.
 *
 *   wire IFNAME SOCKET [LOSS [SYNS]]
 *
 * Creates the tap IFNAME in the present network namespace, connects to SOCKET, prints "ready" and carries frames until either side ends
 * or SIGTERM comes; then prints how many were dropped from the tap and towards it.
 * LOSS: of 1000 frames in each direction this many are dropped, by a fixed pseudo-random sequence. SYNS: so many of the first segments
 * with SYN from the tap are dropped. Needs access to /dev/net/tun.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_MAX 65550

static int tap_open(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) {
		perror("/dev/net/tun");
		exit(1);
	}
	return fd;
}

static int sock_connect(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		perror(path);
		exit(1);
	}
	return fd;
}

/* What is to be lost in one direction, and what was. */
struct loss {
	unsigned per_mille, syns, lost;
};

/* Without options of IP, as passt and the kernel send it. */
static bool is_syn(const uint8_t *p, size_t n)
{
	size_t l4 = n > 14 && p[14] >> 4 == 6 ? 54 : 34;
	uint8_t proto = n > l4 + 20 ? p[l4 == 54 ? 20 : 23] : 0;

	return proto == 6 && p[l4 + 13] & 2;
}

static bool lost(struct loss *l, const uint8_t *p, size_t n)
{
	static uint32_t x = 2463534242u;
	bool syn = l->syns && is_syn(p, n);

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	l->syns -= syn;
	if (!syn && x % 1000 >= l->per_mille)
		return false;
	l->lost++;
	return true;
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

/* As many frames as the device has, at most 64. */
static bool from_tap(int tap, int sock, struct loss *loss)
{
	static uint8_t buf[4 + FRAME_MAX];

	for (int i = 0; i < 64; i++) {
		ssize_t n = read(tap, buf + 4, FRAME_MAX);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR || errno == EIO;
		if (lost(loss, buf + 4, (size_t)n))
			continue;
		buf[0] = (uint8_t)(n >> 24);
		buf[1] = (uint8_t)(n >> 16);
		buf[2] = (uint8_t)(n >> 8);
		buf[3] = (uint8_t)n;
		if (!write_all(sock, buf, 4 + (size_t)n))
			return false;
	}
	return true;
}

static bool from_sock(int sock, int tap, struct loss *loss)
{
	static uint8_t buf[1 << 20];
	static size_t have;
	size_t at = 0;
	ssize_t r = recv(sock, buf + have, sizeof(buf) - have, 0);

	if (r <= 0)
		return r < 0 && errno == EINTR;
	have += (size_t)r;
	while (have - at >= 4) {
		size_t n = (size_t)buf[at] << 24 | (size_t)buf[at + 1] << 16 | (size_t)buf[at + 2] << 8 | buf[at + 3];

		if (n > FRAME_MAX)
			return false;
		if (have - at - 4 < n)
			break;
		if (!lost(loss, buf + at + 4, n) && write(tap, buf + at + 4, n) < 0 && errno != EIO && errno != EAGAIN)
			perror("tap");
		at += 4 + n;
	}
	memmove(buf, buf + at, have - at);
	have -= at;
	return true;
}

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

int main(int argc, char **argv)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct loss up = { .per_mille = argc > 3 ? (unsigned)atoi(argv[3]) : 0, .syns = argc > 4 ? (unsigned)atoi(argv[4]) : 0 };
	struct loss down = { .per_mille = up.per_mille };
	struct sigaction sa = { .sa_handler = on_term };

	if (argc < 3) {
		fprintf(stderr, "usage: wire IFNAME SOCKET [LOSS [SYNS]]\n");
		return 2;
	}
	sigaction(SIGTERM, &sa, NULL);
	p[0].fd = tap_open(argv[1]);
	p[1].fd = sock_connect(argv[2]);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		if (poll(p, 2, 200) < 0)
			continue;
		if (p[0].revents && !from_tap(p[0].fd, p[1].fd, &up))
			break;
		if (p[1].revents && !from_sock(p[1].fd, p[0].fd, &down))
			break;
	}
	printf("%u %u\n", up.lost, down.lost);
	return 0;
}
