/* SPDX-License-Identifier: MIT */
/* The namespace agent with the namespaces of a spawned command. Argument: who does it (as.h). */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "as.h"
#include "netns/agent.h"
#include "netns/spawn.h"
#include "os/netlink.h"
#include "os/sock.h"
#include "shell.h"

#define REPLIES_MAX 64

static struct spawn s;
static struct ns ns;
static struct agent a;
static struct nsconf conf;
static char logged[SHELL_OUT_MAX];

/* What came by the function. */
static struct {
	uint32_t cookie[REPLIES_MAX];
	int err[REPLIES_MAX];
	unsigned n_fds[REPLIES_MAX];
	unsigned n;
} got;

static void on_reply(void *ctx, const struct agent_reply *r, const int *fds, unsigned n)
{
	assert_true(got.n < REPLIES_MAX);
	got.cookie[got.n] = r->head.cookie;
	got.err[got.n] = r->err;
	got.n_fds[got.n++] = n;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static int setup(void **state)
{
	char *argv[] = { "sleep", "1000", NULL };
	const struct spawn_conf c = { .argv = argv, .uid = geteuid(), .gid = getegid() };

	logged[0] = '\0';
	memset(&conf, 0, sizeof(conf));
	memset(&got, 0, sizeof(got));
	if (spawn_start(&c, &s, &ns) || agent_start(&ns, &a))
		return -1;
	agent_set_reply(&a, on_reply, NULL);
	conf.only_lo = 1;
	return agent_config(&a, &conf);
}

static int teardown(void **state)
{
	agent_close(&a);
	agent_close(&a);
	ns_close(&ns);
	spawn_close(&s);
	assert_string_equal(logged, "");
	return 0;
}

static int listen_on(const char *addr, uint16_t port, uint8_t proto, int *ret_fd)
{
	struct agent_req q = { .head.type = AGENT_LISTEN, .listen = { .port = port, .proto = proto } };
	struct agent_reply r;
	int fds[FDPASS_MAX], err;

	q.listen.dual = !addr;
	if (addr)
		q.listen.addr = ip(addr);
	err = agent_call(&a, &q, &r, fds);
	if (err)
		return err;
	assert_int_equal(r.n_fds, 1);
	assert_int_equal(r.v6, !addr || strchr(addr, ':'));
	*ret_fd = fds[0];
	return 0;
}

static int sockets(uint32_t family, uint32_t type, uint32_t n, int *fds)
{
	struct agent_req q = { .head.type = AGENT_SOCKETS, .sockets = { .family = family, .type = type, .n = n } };
	struct agent_reply r = { .n_fds = 0 };
	int err = agent_call(&a, &q, &r, fds);

	if (!err)
		assert_int_equal(r.n_fds, n);
	return err;
}

static void fds_close(int *fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fd[i]);
}

/* --- sockets --- */

/* Between sockets of the agent there is a connection; ours lead elsewhere. */
static void test_connect(void **state)
{
	static const char *const addr[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < ARRAY_SIZE(addr); i++) {
		const struct ep to = { .addr = ip(addr[i]), .port = 7777 };
		int family = addr_family(&to.addr), fds[FDPASS_MAX], lfd, cfd, own;
		struct pollfd p = { .events = POLLIN };
		struct ep peer;

		assert_int_equal(listen_on(addr[i], 7777, IPPROTO_TCP, &lfd), 0);
		assert_int_equal(sockets((uint32_t)family, SOCK_STREAM, 1, fds), 0);
		assert_int_equal(sock_connect(fds[0], family, &to, 0), -EINPROGRESS);
		p.fd = lfd;
		assert_int_equal(poll(&p, 1, -1), 1);
		assert_int_equal(sock_accept(lfd, &peer, &cfd), 0);

		own = socket(family, SOCK_STREAM, 0);
		assert_int_not_equal(sock_connect(own, family, &to, 0), 0);
		close(own);
		close(cfd);
		close(lfd);
		close(fds[0]);
	}
}

static void test_listen(void **state)
{
	int fd[8];

	/* A low port: root of the namespace. */
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_TCP, &fd[0]), 0);
	assert_int_equal(listen_on("127.0.0.1", 80, IPPROTO_TCP, &fd[1]), -EADDRINUSE);
	assert_int_equal(listen_on("::", 80, IPPROTO_TCP, &fd[1]), 0);
	assert_int_equal(listen_on(NULL, 80, IPPROTO_TCP, &fd[2]), -EADDRINUSE);
	assert_int_equal(listen_on(NULL, 81, IPPROTO_TCP, &fd[2]), 0);
	assert_int_equal(listen_on("0.0.0.0", 81, IPPROTO_TCP, &fd[3]), -EADDRINUSE);
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_UDP, &fd[3]), 0);
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_UDP, &fd[4]), -EADDRINUSE);
	assert_int_equal(listen_on(NULL, 82, IPPROTO_UDP, &fd[4]), 0);
	assert_int_equal(listen_on("192.0.2.1", 80, IPPROTO_TCP, &fd[5]), -EADDRNOTAVAIL);
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_ICMP, &fd[5]), -EPROTONOSUPPORT);
	for (int i = 0; i < 5; i++) {
		assert_true(fcntl(fd[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd[i], F_GETFD) & FD_CLOEXEC);
	}
	fds_close(fd, 5);
	/* With the last copy gone, the port is free at once: the agent kept none. */
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_UDP, &fd[0]), 0);
	close(fd[0]);
}

static void test_listen_device(void **state)
{
	struct agent_req q = { .head.type = AGENT_LISTEN, .listen = { .port = 90, .proto = IPPROTO_TCP, .dual = 1, .dev = "lo" } };
	int fds[FDPASS_MAX];
	struct agent_reply r;
	char dev[16] = "";
	socklen_t len = sizeof(dev);

	assert_int_equal(agent_call(&a, &q, &r, fds), 0);
	assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_BINDTODEVICE, dev, &len), 0);
	assert_string_equal(dev, "lo");
	close(fds[0]);
	memcpy(q.listen.dev, "none7", 6);
	assert_int_equal(agent_call(&a, &q, &r, fds), -ENODEV);
	assert_int_equal(r.n_fds, 0);
	/* Without an end. */
	memset(q.listen.dev, 'x', sizeof(q.listen.dev));
	assert_int_equal(agent_call(&a, &q, &r, fds), -ENODEV);
}

static void test_batch(void **state)
{
	int fds[FDPASS_MAX];

	for (int i = 0; i < 20; i++) {
		assert_int_equal(sockets(i % 2 ? AF_INET : AF_INET6, i % 3 ? SOCK_STREAM : SOCK_DGRAM, FDPASS_MAX, fds), 0);
		assert_true(fcntl(fds[63], F_GETFL) & O_NONBLOCK);
		fds_close(fds, FDPASS_MAX);
	}
	assert_int_equal(sockets(AF_INET, SOCK_STREAM, 0, fds), -EINVAL);
	assert_int_equal(sockets(AF_INET, SOCK_STREAM, FDPASS_MAX + 1, fds), -EINVAL);
	assert_int_equal(sockets(AF_UNIX, SOCK_STREAM, 1, fds), -EINVAL);
	assert_int_equal(sockets(AF_INET, SOCK_SEQPACKET, 1, fds), -EINVAL);
}

/* Listeners of the namespace, by a socket that belongs there, from here. */
static void test_diag(void **state)
{
	const struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} dump = { .h = { .nlmsg_len = sizeof(dump), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		   .q = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1 << TCP_LISTEN } };
	struct {
		struct nlmsghdr h;
		struct inet_diag_msg m;
		char rest[8192];
	} answer;
	int diag, lfd;
	struct pollfd p = { .events = POLLIN };

	assert_int_equal(listen_on("127.0.0.1", 4321, IPPROTO_TCP, &lfd), 0);
	assert_int_equal(agent_diag(&a, &diag), 0);
	assert_int_equal(send(diag, &dump, sizeof(dump), 0), sizeof(dump));
	p.fd = diag;
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_true(recv(diag, &answer, sizeof(answer), 0) >= (ssize_t)(sizeof(answer.h) + sizeof(answer.m)));
	assert_int_equal(answer.h.nlmsg_type, SOCK_DIAG_BY_FAMILY);
	assert_int_equal(ntohs(answer.m.id.idiag_sport), 4321);
	close(diag);
	close(lfd);
}

/* --- requests and replies --- */

static void test_async(void **state)
{
	struct agent_req q = { .head.type = AGENT_SOCKETS };
	struct pollfd p = { .fd = a.h.fd, .events = POLLIN };
	uint32_t cookie[9];
	int fds[FDPASS_MAX];

	for (unsigned i = 0; i < 8; i++) {
		q.sockets = (struct agent_sockets){ .family = AF_INET, .type = SOCK_DGRAM, .n = i }; /* the first can't be */
		assert_int_equal(agent_send(&a, &q, &cookie[i]), 0);
	}
	/* A call in between: those before it go to the function. */
	assert_int_equal(sockets(AF_INET, SOCK_STREAM, 2, fds), 0);
	fds_close(fds, 2);
	assert_int_equal(got.n, 8);
	assert_int_equal(agent_send(&a, &q, &cookie[8]), 0);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(agent_on_event(&a), 0);
	assert_int_equal(agent_on_event(&a), 0);
	assert_int_equal(got.n, 9);
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(got.cookie[i], cookie[i]);
		assert_int_equal(got.err[i], i ? 0 : -EINVAL);
		assert_int_equal(got.n_fds[i], MIN(i, 7u));
	}
}

/* However much is asked for at once, nobody waits for somebody who waits for him. */
static void test_flood(void **state)
{
	struct agent_req q = { .head.type = AGENT_SOCKETS, .sockets = { .family = AF_INET, .type = SOCK_DGRAM, .n = 1 } };
	unsigned sent = 0, answered = 0;
	uint32_t cookie;
	int err = 0;

	while (sent < 100000 && !err) {
		err = agent_send(&a, &q, &cookie);
		sent += !err;
	}
	assert_int_equal(err, -EAGAIN);
	assert_true(sent > 10);
	while (answered < sent) {
		struct pollfd p = { .fd = a.h.fd, .events = POLLIN };

		got.n = 0;
		assert_int_equal(poll(&p, 1, -1), 1);
		while (got.n < REPLIES_MAX) {
			struct agent_reply r;
			int fds[FDPASS_MAX];
			unsigned n;

			if (fdpass_recv(a.h.fd, &r, sizeof(r), MSG_DONTWAIT, fds, &n) < 0)
				break;
			on_reply(NULL, &r, fds, n);
		}
		for (unsigned i = 0; i < got.n; i++)
			assert_int_equal(got.err[i], 0);
		answered += got.n;
	}
}

/* Descriptors that we have no room for are lost, and said to be; the agent is not, and all is well when there is room again. */
static void test_no_room(void **state)
{
	struct agent_req q = { .head.type = AGENT_SOCKETS, .sockets = { .family = AF_INET, .type = SOCK_DGRAM, .n = 8 } };
	struct pollfd p = { .fd = a.h.fd, .events = POLLIN };
	struct rlimit old, few;
	int fds[FDPASS_MAX];
	uint32_t cookie;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)dup(0); /* the next one that is free */
	close((int)few.rlim_cur);
	for (unsigned room = 0; room < 8; room += 4) {
		got.n = 0;
		few.rlim_cur += room;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		assert_int_equal(agent_send(&a, &q, &cookie), 0);
		assert_int_equal(poll(&p, 1, -1), 1);
		assert_int_equal(agent_on_event(&a), 0);
		assert_int_equal(got.n, 1);
		assert_int_equal(got.cookie[0], cookie);
		assert_int_equal(got.err[0], -EMFILE);
		assert_int_equal(got.n_fds[0], 0);
		assert_int_equal(sockets(AF_INET, SOCK_STREAM, 8, fds), -EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(sockets(AF_INET, SOCK_STREAM, 8, fds), 0);
		fds_close(fds, 8);
	}
}

static void expect_end(void)
{
	struct pollfd p = { .fd = a.h.fd, .events = POLLIN };
	struct agent_req q = { .head.type = AGENT_DIAG };
	uint32_t cookie;

	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(agent_on_event(&a), -EPIPE);
	assert_int_equal(agent_send(&a, &q, &cookie), -EPIPE);
}

/* A message that is none ends it, whatever its length. */
static void test_garbage(void **state)
{
	static struct agent_req q;
	static const size_t len[] = { 1, 4, 7, 8, 12, sizeof(struct agent_req) - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(len); i++) {
		for (uint32_t type = 0; type < 3; type++) {
			q.head.type = (uint32_t[]){ AGENT_SOCKETS, AGENT_HELLO, 4711 }[type];
			assert_int_equal(fdpass_send(a.h.fd, &q, len[i], NULL, 0, 0), 0);
			expect_end();
			agent_close(&a);
			assert_int_equal(agent_start(&ns, &a), 0);
		}
	}
	q.head.type = AGENT_QUIT;
	assert_int_equal(fdpass_send(a.h.fd, &q, agent_req_size(AGENT_QUIT), NULL, 0, 0), 0);
	expect_end();
}

/* Sizes of what is asked and answered are not by chance those of something else. */
static void test_sizes(void **state)
{
	assert_int_equal(agent_req_size(AGENT_HELLO), 0);
	assert_int_equal(agent_req_size(AGENT_TYPES), 0);
	assert_int_equal(agent_req_size(UINT32_MAX), 0);
	assert_int_equal(agent_req_size(AGENT_CONFIG), sizeof(struct agent_req));
	assert_int_equal(agent_reply_size(AGENT_CONFIG), sizeof(struct agent_reply));
	assert_int_equal(agent_reply_size(AGENT_QUIT), 0);
	for (uint32_t t = AGENT_OPEN_TAP; t < AGENT_TYPES; t++)
		assert_true(agent_req_size(t) >= sizeof(struct agent_head) && agent_req_size(t) <= sizeof(struct agent_req));
}

/* --- the process --- */

static void test_descriptors(void **state)
{
	int fd = open("/dev/null", O_RDONLY);

	agent_close(&a);
	assert_int_equal(agent_start(&ns, &a), 0);
	/* 0 to 2, and the socket. */
	assert_string_equal(shell("readlink /proc/%i/fd/* | sed 's/:.*//' | sort", (int)a.h.pid),
			    "/dev/null\n/dev/null\n/dev/null\nsocket\n");
	close(fd);
}

static void test_privileges(void **state)
{
	const uint64_t want = 1 << 7 | 1 << 6 | 1 << 10 | 1 << 12 | 1 << 13;
	char line[128];

	snprintf(line, sizeof(line), "CapPrm:\t%016llx\nCapEff:\t%016llx\nNoNewPrivs:\t1\n", (unsigned long long)want,
		 (unsigned long long)want);
	assert_string_equal(shell("grep -E '^(CapPrm|CapEff|NoNewPrivs)' /proc/%i/status", (int)a.h.pid), line);
	assert_int_equal(agent_seal(&a, &(struct helper_seal){ UINT32_MAX, UINT32_MAX, 0 }), 0);
	assert_string_equal(shell("grep -E '^(CapPrm|CapEff)' /proc/%i/status", (int)a.h.pid),
			    "CapPrm:\t0000000000002400\nCapEff:\t0000000000002400\n");
}

static void test_signals(void **state)
{
	static const int sig[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP, SIGPIPE };
	int fds[FDPASS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(sig); i++)
		assert_int_equal(kill(a.h.pid, sig[i]), 0);
	assert_int_equal(sockets(AF_INET, SOCK_STREAM, 1, fds), 0);
	close(fds[0]);
}

static void test_killed(void **state)
{
	assert_int_equal(kill(a.h.pid, SIGKILL), 0);
	expect_end();
}

/* Even one that is stopped, and so can't see the end of its socket. */
static void test_parent_dies(void **state)
{
	for (int stopped = 0; stopped < 2; stopped++) {
		struct pollfd p = { .events = POLLIN };
		int report[2];
		pid_t child, agent = 0;

		assert_int_equal(pipe(report), 0);
		child = fork();
		if (!child) {
			if (agent_start(&ns, &a) || (stopped && kill(a.h.pid, SIGSTOP)))
				_exit(1);
			if (write(report[1], &a.h.pid, sizeof(a.h.pid)) < 0)
				_exit(1);
			pause();
		}
		assert_int_equal(read(report[0], &agent, sizeof(agent)), sizeof(agent));
		assert_int_equal(ns_pidfd(agent, &p.fd), 0);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		assert_int_equal(poll(&p, 1, -1), 1);
		close(p.fd);
		close(report[0]);
		close(report[1]);
	}
}

static void test_cannot_enter(void **state)
{
	struct ns bad = ns;
	struct agent b;

	bad.net_fd = open("/dev/null", O_RDONLY);
	assert_int_equal(agent_start(&bad, &b), -EINVAL);
	assert_string_equal(logged, "Couldn't join network namespace of the command: Invalid argument\n");
	logged[0] = '\0';
	bad.user_fd = bad.net_fd;
	assert_int_equal(agent_start(&bad, &b), -EINVAL);
	assert_string_equal(logged, "Couldn't join user namespace: Invalid argument\n");
	logged[0] = '\0';
	close(bad.net_fd);
}

/* --- tap --- */

static bool has_tun(void)
{
	int fd = open(TUN_PATH, O_RDWR);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void test_tap(void **state)
{
	static const uint8_t request[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };
	const struct nsconf_route def = { .dst = ip("0.0.0.0"), .type = RTN_UNICAST, .protocol = RTPROT_STATIC };
	const struct nsconf_hop hop = { .gw = ip("192.0.2.1"), .weight = 1 };
	struct tun t, plain;
	uint8_t frame[128] = { 0 };

	if (!has_tun()) {
		/* Nobody may, here: then the words are what counts. */
		assert_int_equal(agent_open_tap(&a, "eth0", true, &t), -EACCES);
		assert_string_equal(
			logged,
			"Failed to open() /dev/net/tun: Permission denied (the device has to be open to the user, and to the container)\n");
		logged[0] = '\0';
		return;
	}
	assert_int_equal(agent_open_tap(&a, "eth0", true, &t), 0);
	assert_int_equal(t.vnet_hdr_len, 10);
	assert_true(t.offloads & TUN_CSUM);
	assert_true(fcntl(t.fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(agent_open_tap(&a, "eth0", true, &plain), -EBUSY);
	assert_string_equal(
		logged,
		"Couldn't make tap device eth0: Device or resource busy (there may be an interface of that name: --ns-ifname chooses another one)\n");
	logged[0] = '\0';
	assert_int_equal(agent_open_tap(&a, "", false, &plain), 0);
	assert_int_equal(plain.vnet_hdr_len, 0);
	assert_int_equal(plain.offloads, 0);
	close(plain.fd);

	conf.only_lo = 0;
	memcpy(conf.name, "eth0", 5);
	conf.mtu = 65520;
	conf.n_addrs = 3;
	conf.addr[0] = (struct nsconf_addr){ .addr = ip("192.0.2.2"), .plen = 24 };
	conf.addr[1] = (struct nsconf_addr){ .addr = ip("2001:db8::2"), .plen = 64 };
	conf.addr[2] = (struct nsconf_addr){ .addr = ip("ff02::5"), .plen = 64 };
	assert_int_equal(nsconf_route_add(&conf, &def, &hop, 1), 0);
	assert_int_equal(agent_config(&a, &conf), 0);
	assert_non_null(strstr(logged, "Couldn't set address ff02::5/64 in the namespace: "));
	logged[0] = '\0';
	/* A frame goes through, with its header. */
	memcpy(frame + t.vnet_hdr_len, request, sizeof(request));
	assert_int_equal(write(t.fd, frame, t.vnet_hdr_len + sizeof(request)), t.vnet_hdr_len + sizeof(request));
	assert_int_equal(listen_on("2001:db8::2", 80, IPPROTO_TCP, &plain.fd), 0);
	close(plain.fd);

	assert_int_equal(agent_seal(&a, &(struct helper_seal){ UINT32_MAX, UINT32_MAX, 0 }), 0);
	assert_int_equal(agent_open_tap(&a, "eth1", true, &plain), -EPERM);
	assert_int_equal(agent_config(&a, &conf), -EPERM);
	assert_non_null(strstr(logged, "Operation not permitted\n"));
	logged[0] = '\0';
	close(t.fd);
}

/* --- annex --- */

/* An interface of that name is in the namespace, or is not. */
static bool has_interface(const char *name)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "grep -c ' %s:' /proc/%i/net/dev", name, (int)a.h.pid);
	return shell("%s", cmd)[0] == '1';
}

/* Changes are for the annex's agent alone. */
static void check_follow(struct agent *b, const struct annex_conf *c)
{
	struct agent_req q = { .head.type = AGENT_FOLLOW, .annex = *c };
	struct agent_reply reply;
	int fds[FDPASS_MAX];

	q.annex.mac[5]++;
	q.annex.mtu = 1280;
	assert_int_equal(agent_call(b, &q, &reply, fds), 0);
	assert_int_equal(agent_call(&a, &q, &reply, fds), -EPERM);
	assert_int_equal(agent_leave(&a), -EPERM);
}

/* News of the interfaces of the namespace. */
static void on_link(void *ctx, const struct nl_entry *e)
{
	if (e->kind == NL_LINK && !strcmp(e->link.name, "lo"))
		*(uint32_t *)ctx = e->link.mtu;
}

static void test_links(void **state)
{
	struct pollfd p = { .events = POLLIN };
	uint32_t mtu = 0;

	assert_int_equal(agent_links(&a, &p.fd), 0);
	assert_int_equal(nl_links_ask(p.fd, 0, "lo"), 0);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(nl_links_read(p.fd, on_link, &mtu), 0);
	assert_int_equal(mtu, 65536);
	close(p.fd);
}

/* From its making to its end; the namespace's own agent goes on as ever. */
static void test_annex(void **state)
{
	struct annex_conf c = {
		.name = "eth0", .mac = { 2, 0, 0, 0, 0, 2 }, .our_mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .v6 = 1
	};
	struct agent_req q = { .head.type = AGENT_SOCKETS, .sockets = { .family = AF_INET6, .type = SOCK_STREAM, .n = 2 } };
	struct ep ep = { .addr = ip("2001:db8::77"), .port = 22 };
	int sock[FDPASS_MAX], bare[FDPASS_MAX];
	struct agent_reply reply;
	struct annex_result r;
	struct annex_fds fds;
	struct agent b;

	if (!has_tun())
		return;
	assert_int_equal(agent_start_annex(&ns, &b), 0);
	assert_int_equal(agent_annex(&b, &c, -1, &r, &fds), -EINVAL);
	assert_int_equal(agent_annex(&b, &c, ns.net_fd, &r, &fds), 0);
	assert_true(fds.tap >= 0 && fds.raw[0] >= 0 && fds.raw[1] >= 0);
	assert_int_equal(r.vnet_hdr_len, 10);
	assert_true(has_interface("eth0"));
	assert_int_equal(agent_annex(&b, &c, ns.net_fd, &(struct annex_result){ 0 }, &(struct annex_fds){ 0 }), -EEXIST);
	assert_true(has_interface("eth0"));
	assert_int_equal(agent_seal(&b, &(struct helper_seal){ UINT32_MAX, UINT32_MAX, 0 }), 0);
	assert_int_equal(agent_annex(&b, &c, ns.net_fd, &r, &fds), -EPERM);
	assert_string_equal(shell("grep CapEff /proc/%i/status", (int)b.h.pid), "CapEff:\t0000000000003400\n");
	check_follow(&b, &c);

	/* Sockets for anybody's address, twice, and such as are anywhere else. */
	assert_int_equal(agent_call(&b, &q, &reply, bare), 0);
	assert_int_equal(sock_bind(bare[0], AF_INET6, &ep, 0), -EADDRNOTAVAIL);
	q.sockets.stand_in = 1;
	assert_int_equal(agent_call(&b, &q, &reply, sock), 0);
	assert_int_equal(sock_bind(sock[0], AF_INET6, &ep, 0), 0);
	assert_int_equal(sock_bind(sock[1], AF_INET6, &ep, 0), 0);
	fds_close(sock, 2);
	fds_close(bare, 2);
	close(fds.tap);
	close(fds.raw[0]);
	close(fds.raw[1]);
	assert_int_equal(agent_leave(&b), 0);
	assert_false(has_interface("eth0"));
	agent_close(&b);
	assert_int_equal(agent_leave(&b), -EPIPE);
}

static void test_annex_refused(void **state)
{
	struct annex_conf c = { .name = "lo", .mac = { 2, 0, 0, 0, 0, 2 }, .our_mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500 };
	struct annex_result r;
	struct annex_fds fds;
	struct agent b;
	struct ns bad = ns;

	assert_int_equal(agent_start_annex(&ns, &b), 0);
	assert_int_equal(agent_annex(&b, &c, ns.net_fd, &r, &fds), -EEXIST);
	assert_int_equal(r.err, -EEXIST);
	assert_int_equal(r.step, ANNEX_PAIR);
	agent_close(&b);
	bad.net_fd = open("/dev/null", O_RDONLY);
	assert_int_equal(agent_start_annex(&bad, &b), -EINVAL);
	close(bad.net_fd);
}

/* Without a user namespace, as root: another user in the end, who may still bind to low ports. */
static void test_seal_user(void **state)
{
	char *argv[] = { "sleep", "1000", NULL };
	const struct spawn_conf c = { .argv = argv, .netns_only = true };
	struct spawn t;
	struct ns own;
	int fd;

	if (geteuid()) {
		assert_int_not_equal(agent_seal(&a, &(struct helper_seal){ 1234, 1234, 0 }), 0);
		assert_string_equal(logged, "Request 6 to the namespace agent failed: Operation not permitted\n");
		logged[0] = '\0';
		return;
	}
	if (strstr(shell("cat /proc/self/setgroups"), "deny"))
		return; /* nobody else is there */
	assert_int_equal(spawn_start(&c, &t, &own), 0);
	agent_close(&a);
	assert_int_equal(agent_start(&own, &a), 0);
	assert_int_equal(agent_seal(&a, &(struct helper_seal){ 1234, 1235, 0 }), 0);
	assert_string_equal(shell("grep -E '^(Uid|Gid|Groups|CapEff)' /proc/%i/status", (int)a.h.pid),
			    "Uid:\t1234\t1234\t1234\t1234\nGid:\t1235\t1235\t1235\t1235\nGroups:\t \nCapEff:\t0000000000002400\n");
	assert_int_equal(listen_on("0.0.0.0", 80, IPPROTO_TCP, &fd), 0);
	close(fd);
	ns_close(&own);
	spawn_close(&t);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_connect),      T(test_listen),     T(test_listen_device), T(test_batch),   T(test_diag),
		T(test_async),        T(test_flood),      T(test_no_room),       T(test_garbage), T(test_sizes),
		T(test_descriptors),  T(test_privileges), T(test_signals),       T(test_killed),  T(test_parent_dies),
		T(test_cannot_enter), T(test_tap),        T(test_seal_user),     T(test_annex),   T(test_annex_refused),
		T(test_links),
	};
#undef T

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	(void)as_become(argc, argv);
	log_set_sink(log_keep, logged);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
