/* SPDX-License-Identifier: MIT */
/*
 * An annex of a namespace, really made, with this program as the namespace's clients and services, as the engine, and as the remote:
 *
 *   inside: eth0 ════ pair ─┬─ tap ── we
 *                           └─ sockets ── we
 *
 * Argument: who does it (as.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "as.h"
#include "link/vnet.h"
#include "netns/annex.h"
#include "os/sock.h"
#include "shell.h"
#include "tcp/syn.h"

#define PATIENCE_MS 20000
#define PORT 443
#define REMOTE4 "198.51.100.7"
#define REMOTE6 "2001:db8:1::7"
#define GUEST4 "192.0.2.15"
#define GUEST6 "2001:db8::15"

static const struct annex_conf conf = {
	.name = "eth0", .mac = { 2, 0, 0, 0, 0, 0x15 }, .our_mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 65520, .queue = 4096, .v6 = 1
};

static int inside, annex; /* the namespaces */
static struct annex_fds fds;
static struct annex_result r;

static int here(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

/* Both namespaces, we in the annex. */
static int setup(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	inside = here();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	annex = here();
	fds = (struct annex_fds){ -1, { -1, -1 } };
	return 0;
}

static int teardown(void **state)
{
	sock_close(fds.tap);
	sock_close(fds.raw[0]);
	sock_close(fds.raw[1]);
	close(inside);
	close(annex);
	return 0;
}

/* An annex, and an inside with addresses and a gateway that need not be asked for. */
static void make(void)
{
	assert_int_equal(annex_make(&conf, inside, &r, &fds), 0);
	assert_int_equal(r.err, 0);
	enter(inside);
	assert_string_equal(shell("ip addr add " GUEST4 "/24 dev eth0 && ip addr add " GUEST6 "/64 dev eth0 nodad && "
				  "ip link set lo up && ip link set eth0 up && "
				  "ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent && "
				  "ip neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent && "
				  "ip route add default via 192.0.2.1 && ip route add default via 2001:db8::1"),
			    "");
}

static bool wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PATIENCE_MS) == 1;
}

/* The next frame that is this: its length without the header of virtio. Others are passed over. */
static size_t frame_find(bool (*is)(const struct pkt *p), struct pkt *p)
{
	static uint8_t b[70000];

	for (;;) {
		ssize_t n;

		assert_true(wait_in(fds.tap));
		n = read(fds.tap, b, sizeof(b));
		assert_true(n > (ssize_t)r.vnet_hdr_len);
		n -= r.vnet_hdr_len;
		memset(p, 0, sizeof(*p));
		p->head_len = (uint16_t)MIN((size_t)n, sizeof(p->head));
		memcpy(p->head, b + r.vnet_hdr_len, p->head_len);
		if (!pkt_parse(p, (size_t)n) && is(p))
			return (size_t)n;
	}
}

static struct tcp_hdr segment(const struct pkt *p)
{
	struct rd rd = pkt_l4(p);
	struct tcp_hdr h;

	assert_int_equal(tcp_hdr_read(&rd, &h), 0);
	return h;
}

static bool is_tcp(const struct pkt *p)
{
	return p->family && p->proto == PROTO_TCP;
}

static bool is_udp(const struct pkt *p)
{
	return p->family && p->proto == PROTO_UDP && p->dport == 9;
}

static bool is_arp(const struct pkt *p)
{
	return p->ethertype == 0x0806;
}

static int open_there(int ns, int family, int type)
{
	int fd;

	enter(ns);
	fd = socket(family, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	return fd;
}

/* A socket that stands in for others. */
static int stand_in(int family)
{
	int fd = open_there(annex, family, SOCK_STREAM);

	assert_int_equal(annex_socket(fd, family), 0);
	return fd;
}

static void bind_to(int fd, const char *addr, uint16_t port)
{
	struct ep ep = { .addr = ip(addr), .port = port };

	assert_int_equal(sock_bind(fd, addr_family(&ep.addr), &ep, 0), 0);
}

static void ep_is(const struct ep *ep, const char *addr, uint16_t port)
{
	struct addr want = ip(addr);

	assert_true(addr_eq(&ep->addr, &want));
	if (port)
		assert_int_equal(ep->port, port);
}

static void echo(int from, int to)
{
	char b[8] = "";

	assert_int_equal(send(from, "hello", 6, MSG_NOSIGNAL), 6);
	assert_true(wait_in(to));
	assert_int_equal(recv(to, b, sizeof(b), 0), 6);
	assert_string_equal(b, "hello");
}

/* --- what is where --- */

static void test_made(void **state)
{
	make();
	assert_non_null(strstr(shell("ip -o link show dev eth0"), "mtu 65520"));
	assert_non_null(strstr(shell("ip -o link show dev eth0"), "link/ether 02:00:00:00:00:15 "));
	assert_string_equal(shell("ip rule show | grep -v -e local -e main -e default; ip -6 rule show | grep -v -e local -e main; "
				  "ip route show table 100 2>/dev/null; tc filter show dev eth0 ingress; ss -Htan; true"),
			    "");
	enter(annex);
	assert_string_equal(shell("ip -o addr show | grep -v ' lo '; true"), "");
}

/* --- frames --- */

/* A datagram from the remote to the inside. */
static void frame_write(void)
{
	struct ip_tx tx = { .src = ip(REMOTE4), .dst = ip(GUEST4), .proto = PROTO_UDP, .ttl = 64 };
	uint8_t frame[sizeof(struct virtio_net_hdr) + 60];
	struct wr w = wr_init(frame, sizeof(frame));

	wr_zero(&w, r.vnet_hdr_len);
	wr_bytes(&w, conf.mac, MAC_LEN);
	wr_bytes(&w, conf.our_mac, MAC_LEN);
	wr_be16(&w, 0x0800);
	ip_put(&w, &tx, 12);
	wr_be16(&w, 9);
	wr_be16(&w, 9);
	wr_be16(&w, 12);
	wr_be16(&w, 0);
	wr_bytes(&w, "back", 4);
	wr_zero(&w, wr_left(&w));
	assert_true(wr_ok(&w));
	assert_int_equal(write(fds.tap, frame, wr_len(&w)), wr_len(&w));
}

static void test_frames(void **state)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct pkt p;
	char b[64];
	int fd;

	make();
	fd = open_there(inside, AF_INET, SOCK_DGRAM);
	assert_int_equal(bind(fd, (void *)&any, sizeof(any)), 0);
	any.sin_addr.s_addr = inet_addr(REMOTE4);
	assert_int_equal(sendto(fd, "hi", 2, 0, (void *)&any, sizeof(any)), 2);
	(void)frame_find(is_udp, &p);
	ep_is(&(struct ep){ p.dst, p.dport }, REMOTE4, 9);
	assert_memory_equal(p.src_mac, conf.mac, MAC_LEN);
	any.sin_addr.s_addr = inet_addr("192.0.2.99");
	assert_int_equal(sendto(fd, "hi", 2, 0, (void *)&any, sizeof(any)), 2);
	(void)frame_find(is_arp, &p);
	frame_write();
	assert_true(wait_in(fd));
	assert_int_equal(recv(fd, b, sizeof(b), 0), 4);
	close(fd);
}

/* --- connections --- */

/* From the inside to the remote; the SYN, as it came to us. */
static int connect_out(const char *remote, struct pkt *p)
{
	struct ep dst = { .addr = ip(remote), .port = PORT };
	int fd, family = addr_family(&dst.addr);

	enter(inside);
	assert_int_equal(sock_open(family, SOCK_STREAM, 0, &fd), 0);
	assert_int_equal(sock_connect(fd, family, &dst, 0), -EINPROGRESS);
	(void)frame_find(is_tcp, p);
	assert_int_equal(segment(p).flags & 0x17, TCP_SYN);
	assert_false(tcp_syn_stays(p));
	return fd;
}

/* The same SYN, into the annex. */
static void say_again(const struct pkt *p)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &p->src, p->sport, &p->dst, p->dport);
	struct tcp_hdr h = segment(p);
	struct tcp_syn s = tcp_syn_of(&h);
	bool v4 = addr_is4(&p->dst);
	struct sockaddr_storage ss;
	uint8_t packet[TCP_SYN_MAX];
	size_t len = tcp_syn_put(&s, &key, packet);
	socklen_t ss_len = sock_from_ep(v4 ? AF_INET : AF_INET6, &(struct ep){ .addr = p->dst }, 0, &ss);

	assert_int_equal(sendto(fds.raw[!v4], packet, len, 0, (void *)&ss, ss_len), len);
}

static void check_outbound(const char *guest, const char *remote)
{
	int family = strchr(remote, ':') ? AF_INET6 : AF_INET;
	int client, lfd = stand_in(family), fd, keep;
	struct ep ep;
	struct pkt p;

	bind_to(lfd, family == AF_INET ? "0.0.0.0" : "::", PORT);
	assert_int_equal(listen(lfd, 16), 0);
	client = connect_out(remote, &p);
	assert_false(poll(&(struct pollfd){ .fd = lfd, .events = POLLIN }, 1, 0)); /* nobody has said it again */
	say_again(&p);
	assert_true(wait_in(lfd));
	assert_int_equal(sock_accept(lfd, &ep, &fd), 0);
	ep_is(&ep, guest, p.sport);
	assert_int_equal(sock_local(fd, &ep), 0);
	ep_is(&ep, remote, PORT);
	assert_int_equal(sock_get_int(fd, SOL_SOCKET, SO_KEEPALIVE, &keep), 0);
	assert_int_equal(keep, 1);
	assert_int_equal(sock_peer(client, &ep), 0);
	ep_is(&ep, remote, PORT);
	echo(client, fd);
	echo(fd, client);
	close(client);
	close(fd);
	close(lfd);
}

static void test_outbound4(void **state)
{
	make();
	check_outbound(GUEST4, REMOTE4);
}

static void test_outbound6(void **state)
{
	make();
	check_outbound(GUEST6, REMOTE6);
}

/* A peer is who it is, also on a port that only root would have, and where somebody listens for connections from the inside. */
static void check_inbound(const char *guest, const char *remote)
{
	int family = strchr(remote, ':') ? AF_INET6 : AF_INET;
	int lfd, service, fd, other = stand_in(family);
	struct ep ep, dst = { .addr = ip(guest), .port = 8080 };

	bind_to(other, family == AF_INET ? "0.0.0.0" : "::", PORT);
	assert_int_equal(listen(other, 16), 0);
	service = open_there(inside, family, SOCK_STREAM);
	bind_to(service, family == AF_INET ? "0.0.0.0" : "::", 8080);
	assert_int_equal(listen(service, 16), 0);
	fd = stand_in(family);
	bind_to(fd, remote, PORT);
	assert_int_equal(sock_connect(fd, family, &dst, 0), 0);
	assert_true(wait_in(service));
	assert_int_equal(sock_accept(service, &ep, &lfd), 0);
	ep_is(&ep, remote, PORT);
	echo(lfd, fd);
	echo(fd, lfd);
	close(fd);
	close(lfd);
	close(service);
	close(other);
}

static void test_inbound4(void **state)
{
	make();
	check_inbound(GUEST4, REMOTE4);
}

static void test_inbound6(void **state)
{
	make();
	check_inbound(GUEST6, REMOTE6);
}

/* A client that has given up says so by a reset, and we see it. */
static void test_reset_shown(void **state)
{
	struct tcp_hdr h;
	struct pkt p;
	int client, lfd = stand_in(AF_INET);

	bind_to(lfd, "0.0.0.0", PORT);
	assert_int_equal(listen(lfd, 16), 0);
	make();
	client = connect_out(REMOTE4, &p);
	h = segment(&p);
	close(client);
	say_again(&p);
	(void)frame_find(is_tcp, &p);
	assert_true(segment(&p).flags & TCP_RST);
	assert_int_equal(segment(&p).seq, h.seq + 1);
	assert_int_equal(poll(&(struct pollfd){ .fd = lfd, .events = POLLIN }, 1, 0), 0);
	close(lfd);
}

/* A segment of a connection that nobody knows is answered by the annex. */
static void test_stale(void **state)
{
	struct ep ep = { .addr = ip(REMOTE4), .port = PORT };
	struct pkt p;
	int client, fd, lfd = stand_in(AF_INET);

	bind_to(lfd, "0.0.0.0", PORT);
	assert_int_equal(listen(lfd, 16), 0);
	make();
	client = connect_out(REMOTE4, &p);
	say_again(&p);
	assert_true(wait_in(lfd));
	assert_int_equal(sock_accept(lfd, &ep, &fd), 0);
	/* As if it had never been: nothing is sent. */
	enter(annex);
	assert_string_equal(shell("ip link set pair down"), "");
	sock_abort(fd);
	assert_string_equal(shell("ip link set pair up && ip route add default via 169.254.77.1 dev pair onlink && "
				  "ip neigh replace 169.254.77.1 lladdr 02:00:00:00:00:15 dev pair nud permanent"),
			    "");
	enter(inside);
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(wait_in(client));
	assert_int_equal(sock_error(client), ECONNRESET);
	close(client);
	close(lfd);
}

/* --- what changes --- */

/* A connection that is there: the ends of it. */
static void connection(int *ret_client, int *ret_fd)
{
	int lfd = stand_in(AF_INET);
	struct ep ep;
	struct pkt p;

	bind_to(lfd, "0.0.0.0", PORT);
	assert_int_equal(listen(lfd, 16), 0);
	*ret_client = connect_out(REMOTE4, &p);
	say_again(&p);
	assert_true(wait_in(lfd));
	assert_int_equal(sock_accept(lfd, &ep, ret_fd), 0);
	close(lfd);
}

/* Sends that much, until all of it has come. */
static void bulk(int from, int to, size_t len)
{
	static char b[1 << 16];
	size_t sent = 0, got = 0;

	while (got < len) {
		struct pollfd p[2] = { { .fd = from, .events = sent < len ? POLLOUT : 0 }, { .fd = to, .events = POLLIN } };
		ssize_t n;

		assert_true(poll(p, 2, PATIENCE_MS) > 0);
		if (p[0].revents & POLLOUT) {
			n = send(from, b, MIN(sizeof(b), len - sent), MSG_NOSIGNAL | MSG_DONTWAIT);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (p[1].revents & POLLIN) {
			n = recv(to, b, sizeof(b), MSG_DONTWAIT);
			assert_true(n > 0);
			got += (size_t)n;
		}
	}
}

/* Another MAC, and room for less and for more at once, under a connection. */
static void test_follow(void **state)
{
	static const struct {
		const char *what;
		struct annex_conf is;
	} change[] = {
		{ "address 02:00:00:00:00:99", { .mac = { 2, 0, 0, 0, 0, 0x99 }, .mtu = 65520, .v6 = 1 } },
		{ "mtu 1400", { .mac = { 2, 0, 0, 0, 0, 0x99 }, .mtu = 1400, .v6 = 1 } },
		{ "mtu 576", { .mac = { 2, 0, 0, 0, 0, 0x99 }, .mtu = 576, .v6 = 1 } },
		{ "mtu 65520", { .mac = { 2, 0, 0, 0, 0, 0x99 }, .mtu = 65520, .v6 = 1 } },
		{ "address 02:00:00:00:00:15 mtu 9000", { .mac = { 2, 0, 0, 0, 0, 0x15 }, .mtu = 9000, .v6 = 1 } },
	};
	int client, fd;

	make();
	connection(&client, &fd);
	assert_int_equal(fcntl(client, F_SETFL, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(change); i++) {
		enter(inside);
		/* With its address the interface loses its neighbours, and nobody here would answer who asks for them. */
		assert_string_equal(
			shell("ip link set eth0 %s && ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
			      change[i].what),
			"");
		enter(annex);
		assert_int_equal(annex_follow(&change[i].is), 0);
		bulk(fd, client, 300000);
		bulk(client, fd, 300000);
	}
	close(client);
	close(fd);
}

/* At once, and only once. */
static void test_leave(void **state)
{
	make();
	assert_non_null(strstr(shell("ip -o link"), "eth0@if"));
	enter(annex);
	assert_int_equal(annex_leave(), 0);
	assert_int_equal(annex_leave(), -ENODEV);
	assert_int_equal(annex_follow(&conf), -ENODEV);
	enter(inside);
	assert_null(strstr(shell("ip -o link"), "eth0@if"));
}

/* --- what goes wrong --- */

static void nothing_left(void)
{
	assert_int_equal(fds.tap, -1);
	assert_int_equal(fds.raw[0], -1);
	assert_int_equal(fds.raw[1], -1);
	assert_null(strstr(shell("ip -o link"), "pair"));
	enter(inside);
	assert_null(strstr(shell("ip -o link"), "eth0@if"));
}

static void test_name_taken(void **state)
{
	enter(inside);
	assert_string_equal(shell("ip link add eth0 type veth peer name eth1"), "");
	enter(annex);
	assert_int_equal(annex_make(&conf, inside, &r, &fds), -EEXIST);
	assert_int_equal(r.err, -EEXIST);
	assert_int_equal(r.step, ANNEX_PAIR);
	nothing_left();
}

/* The last steps can't be taken where sysctls are out of reach, as in a container of others. */
static void test_sysctl_refused(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", "/proc/sys", "tmpfs", 0, NULL), 0);
	assert_int_equal(annex_make(&conf, inside, &r, &fds), -ENOENT);
	assert_int_equal(r.step, ANNEX_SYSCTLS);
	nothing_left();
}

/* Where tap devices are not for everybody. */
static void test_tap_refused(void **state)
{
	int err = annex_make(&conf, inside, &r, &fds);

	assert_int_equal(r.err, err);
	assert_int_equal(r.step, ANNEX_TAP);
	assert_true(err < 0);
	nothing_left();
}

static void test_words(void **state)
{
	for (uint32_t i = 0; i < ANNEX_STEPS; i++) {
		assert_true(strlen(annex_step_name(i)));
		assert_true(strlen(annex_step_needs(i)));
	}
	assert_non_null(annex_step_name(ANNEX_STEPS));
	assert_non_null(annex_step_needs(UINT32_MAX));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outbound4, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outbound6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inbound4, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inbound6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leave, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_taken, setup, teardown),
		cmocka_unit_test(test_words),
		cmocka_unit_test_setup_teardown(test_sysctl_refused, setup, teardown), /* the last one: takes /proc/sys away */
	};

	const struct CMUnitTest few[] = {
		cmocka_unit_test_setup_teardown(test_name_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tap_refused, setup, teardown),
		cmocka_unit_test(test_words),
	};

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (as_become(argc, argv) && (argc < 2 || strcmp(argv[1], "container")))
		as_container();
	if (access(TUN_PATH, R_OK | W_OK))
		return cmocka_run_group_tests_name("netns/annex", few, NULL, NULL);
	return cmocka_run_group_tests_name("netns/annex", tests, NULL, NULL);
}
