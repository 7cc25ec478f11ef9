/* SPDX-License-Identifier: MIT */
#include "core/pasta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "core/pasta_net.h"

#define POLL_NS (100 * NSEC_PER_MSEC)

/*
 * Frames of the guest that can wait for us: what many connections send at once, or, where no frame stands for many, the windows of a few.
 * The kernel's 1000 are less, and it drops what comes then without telling the sender to wait. Large frames take as much memory as they
 * have bytes, which is nobody's account any more.
 */
#define TAP_QUEUE 4096
#define PLAIN_QUEUE 8192

/* Whoever was killed has left the name of his interface to the kernel, which takes a moment to free it. */
#define NAME_PAUSE_NS (50 * NSEC_PER_MSEC)
#define NAME_TRIES 20

enum { ON_AGENT, ON_ANNEX, ON_WATCH, ON_COMMAND }; /* ref.index */

/* --- opening --- */

static int ns_find(struct pasta *p, uid_t uid, gid_t gid)
{
	const struct conf *c = p->conf;
	struct ns_spec spec = {
		.pid = c->ns.pid,
		.netns = c->ns.netns[0] ? c->ns.netns : NULL,
		.userns = c->ns.userns[0] ? c->ns.userns : NULL,
		.netns_only = c->ns.netns_only,
	};
	struct spawn_conf sc = {
		.argv = c->ns.command,
		.hostname = c->guest.hostname[0] ? c->guest.hostname : NULL,
		.uid = uid,
		.gid = gid,
		.netns_only = c->ns.netns_only,
		.no_pidns = c->ns.no_pidns,
	};
	int err;

	if (!c->ns.spawn)
		return ns_open(&spec, &p->ns);
	err = spawn_start(&sc, &p->spawn, &p->ns);
	p->spawned = !err;
	return err;
}

static int annex_conf_find(const struct conf *c, struct annex_conf *ret_conf)
{
	struct annex_conf a = { .mtu = c->mtu, .queue = TAP_QUEUE, .v6 = c->v6 && c->mtu >= CONF_MTU_MIN6 };

	memcpy(a.name, c->ns.ifname, MIN(sizeof(a.name), sizeof(c->ns.ifname)));
	memcpy(a.our_mac, c->guest.our_mac, MAC_LEN);
	memcpy(a.mac, c->guest_mac, MAC_LEN);
	if (mac_is_zero(a.mac)) {
		if (getrandom(a.mac, sizeof(a.mac), 0) != sizeof(a.mac))
			return -EIO;
		a.mac[0] = (a.mac[0] & 0xfc) | 2; /* of one station, and of nobody's make */
	}
	*ret_conf = a;
	return 0;
}

static int annex_make_named(struct pasta *p, const struct annex_conf *a, struct annex_result *ret_result, struct annex_fds *ret_fds)
{
	const struct timespec pause = { .tv_nsec = NAME_PAUSE_NS };

	for (unsigned i = 0;; i++) {
		int err = agent_annex(&p->annex, a, p->ns.net_fd, ret_result, ret_fds);

		if (err != -EEXIST || ret_result->step != ANNEX_PAIR || i == NAME_TRIES)
			return err;
		(void)nanosleep(&pause, NULL);
	}
}

static int annex_setup(struct pasta *p, struct annex_result *ret_result)
{
	struct annex_fds fds;
	struct annex_conf a;
	int err = annex_conf_find(p->conf, &a);

	if (!err)
		err = annex_make_named(p, &a, ret_result, &fds);
	if (err)
		return err;
	p->tun = (struct tun){ .fd = fds.tap, .vnet_hdr_len = ret_result->vnet_hdr_len, .offloads = ret_result->offloads };
	memcpy(p->raw, fds.raw, sizeof(p->raw));
	p->nslink.annex = &p->annex;
	p->nslink.is = a;
	return 0;
}

static void annex_close(struct pasta *p)
{
	agent_close(&p->annex);
	for (unsigned f = 0; f < ANNEX_RAW; f++) {
		if (p->raw[f] >= 0)
			close(p->raw[f]);
		p->raw[f] = -1;
	}
	if (p->tun.fd >= 0)
		close(p->tun.fd);
	p->tun.fd = -1;
	nslink_close(&p->nslink);
}

/* The interface, as one end of a pair, and an annex at the other. What doesn't work leaves nothing behind. */
static void annex_open(struct pasta *p)
{
	struct annex_result r = { .err = 0 };
	int err = agent_start_annex(&p->ns, &p->annex);

	if (err) {
		log_info("TCP connections aren't handed over: no network namespace for that: %s", strerror(-err));
		return;
	}
	err = annex_setup(p, &r);
	if (!err) {
		log_info("TCP connections are handed over to sockets");
		return;
	}
	(void)!agent_leave(&p->annex);
	annex_close(p);
	if (r.err)
		log_info("TCP connections aren't handed over: %s: %s (this takes %s)", annex_step_name(r.step), strerror(-err),
			 annex_step_needs(r.step));
	else
		log_info("TCP connections aren't handed over: %s", strerror(-err));
}

static int tap_open(struct pasta *p)
{
	struct nsconf *n = malloc(sizeof(*n));
	int err = 0;

	if (!n)
		return -ENOMEM;
	if (p->conf->ns.handover)
		annex_open(p);
	else if (!p->conf->ns.splice_only)
		log_info("TCP connections aren't handed over: --no-handover, --pcap or --no-tcp");
	if (!p->conf->ns.splice_only && p->tun.fd < 0)
		err = agent_open_tap(&p->agent, p->conf->ns.ifname, true, &p->tun);
	if (!err && p->tun.fd >= 0 && !p->tun.offloads)
		log_warn("The kernel has no offloads for tap devices, or refuses them: traffic will be slower");
	if (!err) {
		pasta_net(p->conf, p->conf->ns.ifname, n);
		/* That of one end of a pair has none. */
		if (p->tun.fd >= 0 && p->annex.h.fd < 0)
			n->txqlen = p->tun.offloads & (TUN_TSO4 | TUN_TSO6) ? TAP_QUEUE : PLAIN_QUEUE;
		err = agent_config(&p->agent, n);
	}
	free(n);
	return err;
}

int pasta_open(struct pasta *p, const struct conf *c, uid_t uid, gid_t gid)
{
	struct helper_seal s = { UINT32_MAX, UINT32_MAX, !c->foreground };
	int err;

	*p = (struct pasta){ .conf = c,
			     .agent = { .h.fd = -1 },
			     .tun = { .fd = -1 },
			     .annex = { .h.fd = -1 },
			     .raw = { -1, -1 },
			     .nslink = { .fd = -1 } };
	ns_init(&p->ns);
	p->watch.fd = p->watch.dir_fd = -1;
	err = ns_find(p, uid, gid);
	if (err)
		return err;
	if (!p->spawned && !c->ns.no_quit)
		err = watch_open(&p->ns, &p->watch);
	if (!err)
		err = agent_start(&p->ns, &p->agent);
	if (!err)
		err = tap_open(p);
	/* In a user namespace of its own the agent is somebody there; only one that stayed in ours is to become who we shall be. */
	if (p->ns.user_fd < 0 && uid != geteuid())
		s = (struct helper_seal){ uid, gid, s.orphan };
	if (!err)
		err = agent_seal(&p->agent, &s);
	if (!err && p->annex.h.fd >= 0)
		err = agent_seal(&p->annex, &s);
	/* Opened by somebody who has no right to change anything, it gives none to those who hold it. */
	if (!err && p->annex.h.fd >= 0)
		err = agent_links(&p->agent, &p->nslink.fd);
	/* Nobody enters any more, and a namespace that is held by its file can't be unmounted. */
	ns_close(&p->ns);
	return err;
}

static int agent_open(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	struct pasta *p = ctx;

	return agent_listen(&p->agent, s, ret_fd, ret_v6);
}

struct listen_place pasta_listen_place(struct pasta *p)
{
	return (struct listen_place){ .name = "SPLICE", .dev = "lo", .open = agent_open, .ctx = p };
}

/* --- running --- */

static void command_check(struct pasta *p)
{
	int status;

	if (!spawn_status(&p->spawn, &status))
		loop_stop(p->loop, status);
}

static void on_poll(struct timer *t, uint64_t now_ns)
{
	struct pasta *p = container_of(t, struct pasta, poll);

	timer_set(&p->loop->timers, t, now_ns + POLL_NS);
	command_check(p);
}

static void on_agent(struct pasta *p, struct agent *a)
{
	int err = agent_on_event(a);

	if (!err)
		return;
	log_err("The namespace agent is gone: %s", strerror(-err));
	loop_stop(p->loop, EXIT_FAILURE);
}

static void on_watch(struct pasta *p)
{
	if (watch_read(&p->watch))
		loop_stop(p->loop, EXIT_SUCCESS);
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta *p = ctx;

	switch (ref.index) {
	case ON_AGENT:
		on_agent(p, &p->agent);
		break;
	case ON_ANNEX:
		on_agent(p, &p->annex);
		break;
	case ON_WATCH:
		on_watch(p);
		break;
	default:
		command_check(p);
	}
}

static int watch_fd(struct pasta *p, int fd, uint32_t index)
{
	return fd < 0 ? 0 : loop_add(p->loop, fd, ref_init(p->owner, index, 0), EPOLLIN);
}

int pasta_start(struct pasta *p, struct loop *loop)
{
	int err;

	p->loop = loop;
	p->owner = loop_owner(loop, on_event, p);
	timer_init(&p->poll, on_poll);
	err = watch_fd(p, p->agent.h.fd, ON_AGENT);
	if (!err)
		err = watch_fd(p, p->annex.h.fd, ON_ANNEX);
	if (!err)
		err = watch_fd(p, p->watch.fd, ON_WATCH);
	if (!err && p->spawned)
		err = watch_fd(p, p->spawn.pid_fd, ON_COMMAND);
	if (!err && p->spawned && p->spawn.pid_fd < 0)
		timer_set(&loop->timers, &p->poll, loop->now_ns + POLL_NS);
	if (!err && p->nslink.fd >= 0) {
		p->nslink.gone = p->gone;
		p->nslink.ctx = p->gone_ctx;
		err = nslink_start(&p->nslink, loop);
	}
	return err;
}

int pasta_go(struct pasta *p)
{
	int err = p->spawned ? spawn_go(&p->spawn) : 0;

	if (err)
		log_err("Couldn't start the command: %s", strerror(-err));
	return err;
}

bool pasta_signal(struct pasta *p, int sig, bool from_tty)
{
	if (!p->spawned)
		return false;
	spawn_signal(&p->spawn, sig, from_tty);
	return true;
}

bool pasta_is_over(const struct pasta *p)
{
	return p->spawned && !p->spawn.pid && !p->spawn.no_pidns;
}

void pasta_close(struct pasta *p)
{
	if (!p->conf)
		return; /* pasta_open() was never called */
	if (p->spawned)
		spawn_close(&p->spawn);
	/* Whoever starts us again for this namespace finds the name of the interface free. One that ends takes all of it with it. */
	if (p->annex.h.fd >= 0 && !p->spawned)
		(void)!agent_leave(&p->annex);
	agent_close(&p->agent);
	annex_close(p);
	watch_close(&p->watch);
	ns_close(&p->ns);
}
