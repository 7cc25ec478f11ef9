/* SPDX-License-Identifier: MIT */
#include "core/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "core/dispatch.h"
#include "core/share.h"
#include "link/null.h"
#include "link/packet.h"
#include "link/stream.h"
#include "link/tap.h"
#include "link/vhost.h"
#include "os/settle.h"
#include "os/sock.h"
#include "wire/ip.h"

/* --- the link's calls --- */

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	dispatch_from_guest(ctx, f, n);
}

static void on_tx_ready(void *ctx)
{
	struct engine *e = ctx;

	if (e->tcp)
		tcp_link_ready(e->tcp);
	if (e->udp)
		udp_link_ready(e->udp);
}

static void ra_schedule(struct engine *e)
{
	uint32_t rnd = 0;

	if (!e->told.v6 || !e->told.ra)
		return;
	(void)!getrandom(&rnd, sizeof(rnd), GRND_NONBLOCK);
	timer_set(&e->loop.timers, &e->ra_timer, e->loop.now_ns + service_ra_interval(e->ra_sent, rnd) * NSEC_PER_SEC);
}

/* Router lifetimes end: a guest that never asks again has to hear from us (RFC 4861 6.2.4). */
static void ra_due(struct timer *t, uint64_t now_ns)
{
	struct engine *e = container_of(t, struct engine, ra_timer);
	struct wr w = wr_init(e->reply, sizeof(e->reply));

	service_ra(&e->told, &w);
	if (wr_len(&w) && !link_send(e->link, 0, e->reply, wr_len(&w)))
		e->ra_sent++;
	ra_schedule(e);
}

static void on_up(void *ctx)
{
	struct engine *e = ctx;

	guest_forget(&e->guest);
	e->ra_sent = 0;
	ra_schedule(e);
	control_event(e->control, "up");
}

/* Flows stay: the next guest on the link may be the same one, and take them up again. */
static void on_down(void *ctx)
{
	struct engine *e = ctx;

	timer_cancel(&e->loop.timers, &e->ra_timer);
	control_event(e->control, "down");
}

static void on_gone(void *ctx)
{
	struct engine *e = ctx;

	on_down(e);
	/* A command has an exit status to pass on, whatever it did to its network; and perhaps loopback is all it needs. */
	if (e->pasta && e->conf->ns.spawn)
		log_warn("The command goes on without a network interface");
	else
		loop_stop(&e->loop, EXIT_SUCCESS);
}

/* The guest has been silent on what was sent to it. */
static void neigh_ask(struct timer *t, uint64_t now_ns)
{
	struct engine *e = container_of(t, struct engine, neigh.timer);
	const struct addr *a[] = { &e->guest.addr4, &e->guest.addr6, &e->guest.ll6 };

	if (!neigh_due(&e->neigh))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		struct wr w = wr_init(e->reply, sizeof(e->reply));

		service_ask(&e->told, a[i], &w);
		if (wr_len(&w) && link_send(e->link, 0, e->reply, wr_len(&w)))
			break; /* a full queue: whoever reads it is there */
	}
	neigh_asked(&e->neigh, now_ns);
}

/* The capture's place in front of the back end's commit(). The link's context is the engine. */
static void capture_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct engine *e = l->cb.ctx;
	struct iovec iov[1 + LINK_IOV_MAX];
	unsigned n;

	iov[0] = (struct iovec){ .iov_base = (void *)h->bytes, .iov_len = h->len };
	n = iov_slice(f->body, f->n, 0, len, &iov[1], LINK_IOV_MAX, NULL);
	pcap_frame(e->pcap, iov, n + 1);
	e->link_ops->commit(l, f, h, len);
}

static void capture_begin(struct engine *e)
{
	e->link_ops = e->link->ops;
	e->capture_ops = *e->link_ops;
	e->capture_ops.commit = capture_commit;
	e->link->ops = &e->capture_ops;
}

int engine_capture_start(struct engine *e, int fd)
{
	int err = e->pcap ? -EBUSY : pcap_open_fd(e->captures, fd);

	if (err)
		return err;
	e->pcap = e->captures;
	capture_begin(e);
	return 0;
}

int engine_capture_stop(struct engine *e)
{
	if (!e->pcap)
		return -ENOENT;
	e->link->ops = e->link_ops;
	pcap_close(e->pcap);
	e->pcap = NULL;
	return 0;
}

/* --- the loop's calls --- */

static void on_turn_end(void *ctx)
{
	struct engine *e = ctx;

	if (e->tcp)
		tcp_turn_end(e->tcp);
	link_flush(e->link);
	neigh_turn(&e->neigh, &e->loop.timers, e->loop.now_ns);
	if (e->pcap)
		pcap_flush(e->pcap);
	stats_turn(&e->stats, e->loop.now_ns);
}

static void on_stats(void *ctx, struct stats_row *ret_row)
{
	const struct engine *e = ctx;
	const struct link_stats *l = &e->link->stats;
	struct stats_row row = {
		.from_guest = l->rx_frames,
		.from_guest_bytes = l->rx_bytes,
		.to_guest = l->tx_frames,
		.to_guest_bytes = l->tx_bytes,
		.flows = flow_count(e->flows),
	};

	if (e->fwd) {
		const struct splice_stats *s = splice_stats(pasta_fwd_splice(e->fwd));

		row.splices = s->now + (uint64_t)udp_splice_stats(pasta_fwd_udp_splice(e->fwd))->now;
		row.spliced_bytes = s->bytes[0] + s->bytes[1];
	}
	*ret_row = row;
}

static void on_signal(void *ctx, struct ref ref, uint32_t events)
{
	struct engine *e = ctx;
	struct signalfd_siginfo info;
	int sig;

	if (read(e->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	sig = (int)info.ssi_signo;
	if (e->pasta && pasta_signal(e->pasta, sig, info.ssi_code == SI_KERNEL))
		return;
	log_debug("Signal %i, exiting", sig);
	loop_stop(&e->loop, EXIT_SUCCESS);
}

/* What is open stays as it is; new flows, and guests that ask, get what is true now. Others hear of it by an advertisement. */
static int on_host(void *ctx, const struct follow *f)
{
	struct engine *e = ctx;
	int err = follow_set(f, &e->told, &e->nat);

	if (err)
		return err;
	log_info("The host's resolver or addresses have changed");
	if (timer_armed(&e->ra_timer))
		ra_due(&e->ra_timer, e->loop.now_ns);
	return 0;
}

/* --- opening --- */

/* The first process of a PID namespace is not ended by a signal unless it sees to that. */
static void signal_add(sigset_t *set, int sig)
{
	struct sigaction now;

	if (!sigaction(sig, NULL, &now) && now.sa_handler == SIG_DFL)
		sigaddset(set, sig);
}

/* Before anything that somebody may wait for is there: whoever ends us then finds us ready to end in an orderly way. */
static int signals_block(struct engine *e)
{
	sigset_t *set = &e->signals;

	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGQUIT);
	if (e->conf->ns.spawn) {
		sigaddset(set, SIGINT);
		sigaddset(set, SIGHUP);
		sigaddset(set, SIGTSTP);
		sigaddset(set, SIGTTIN);
		sigaddset(set, SIGTTOU);
	}
	if (!e->conf->foreground) {
		signal_add(set, SIGINT);
		signal_add(set, SIGHUP);
	}
	return sigprocmask(SIG_BLOCK, set, NULL) ? -errno : 0;
}

static int signals_open(struct engine *e)
{
	e->signal_fd = signalfd(-1, &e->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return e->signal_fd < 0 ? -errno : 0;
}

/* Where a guest that sends datagrams has its own socket. */
static int socket_dir_open(struct engine *e)
{
	const char *slash = strrchr(e->socket_path, '/');

	snprintf(e->socket_dir, sizeof(e->socket_dir), "%.*s", slash ? (int)(slash - e->socket_path) + 1 : 0, e->socket_path);
	e->socket_dir_fd = open(slash ? e->socket_dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return e->socket_dir_fd < 0 ? -errno : 0;
}

/* One that a service manager has opened, and removes. */
static int socket_passed(struct engine *e)
{
	int err;

	unixpath_name(e->conf->passed.guest, e->socket_path);
	e->listen_fd = e->conf->passed.guest;
	log_info("UNIX domain socket of the service manager%s%s", e->socket_path[0] ? " at " : "", e->socket_path);
	err = e->conf->socket_type == SOCK_DGRAM ? socket_dir_open(e) : 0;
	if (err)
		log_err("Folder of UNIX domain socket %s: %s", e->socket_path, strerror(-err));
	return err;
}

static int control_open(struct engine *e)
{
	const struct conf *c = e->conf;
	int err;

	if (c->passed.control >= 0) {
		control_passed(c->passed.control, &e->control_fds);
		return 0;
	}
	if (!c->conf_path[0])
		return 0;
	err = control_listen(c->conf_path, &e->control_fds);
	return err ? err : leftover_note(c->conf_path, &e->control_left);
}

static int socket_open(struct engine *e)
{
	const struct conf *c = e->conf;
	int err;

	if (e->pasta || c->fd >= 0)
		return 0;
	if (c->passed.guest >= 0)
		return socket_passed(e);
	err = unixpath_open(c->socket_type, c->socket_path, e->socket_path, &e->listen_fd);
	if (!err)
		err = leftover_note(e->socket_path, &e->socket_left);
	if (!err && c->socket_type == SOCK_DGRAM)
		err = socket_dir_open(e);
	if (err == -EADDRINUSE && c->socket_path[0])
		log_err("Socket path %s already in use", c->socket_path);
	else if (err == -ENOTSOCK && c->socket_path[0])
		log_err("Socket path %s is that of something else than a socket", c->socket_path);
	else if (err)
		log_err("UNIX domain socket %s: %s", c->socket_path[0] ? c->socket_path : "in /tmp", strerror(-err));
	else
		log_info("UNIX domain socket bound at %s", e->socket_path);
	return err;
}

static int capture_open(struct engine *e)
{
	const char *path = e->conf->pcap_file;
	int err;

	if (!path[0] && !conf_has_control(e->conf))
		return 0;
	e->captures = pcap_new();
	if (!e->captures)
		return -ENOMEM;
	err = path[0] ? pcap_open(e->captures, path) : 0;
	if (err)
		log_err("Couldn't open capture file %s: %s", path, strerror(-err));
	if (err || !path[0])
		return err;
	e->pcap = e->captures;
	log_info("Saving packet capture to %s", path);
	return 0;
}

/* In our own network; but one of the service manager's, if there is one that is just so. */
static int host_open(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	struct conf_passed *p = &((struct engine *)ctx)->passed;

	for (unsigned i = 0; i < p->ports; i++) {
		const struct bound_spec *at = &p->port[i].at;

		if (p->port[i].fd < 0 || !bound_serves(at, s))
			continue;
		bound_adopt(p->port[i].fd, at);
		*ret_fd = p->port[i].fd;
		*ret_v6 = at->dual || !addr_is4(&at->addr);
		p->port[i].fd = -1;
		return 0;
	}
	return bound_open(s, ret_fd, ret_v6);
}

static int ports_open(struct engine *e)
{
	struct listen_place own = { .name = "HOST", .open = host_open, .ctx = e, .later = e->pasta ? &e->out : NULL }, ns;
	int err;

	e->passed = e->conf->passed;
	fwd_table_copy(&e->conf->in, &e->in);
	fwd_table_copy(&e->conf->out_rules, &e->out);
	err = listeners_open(&e->listeners, &e->in, &own);
	listeners_init(&e->ns_listeners, &e->out);
	if (err || !e->pasta)
		return err;
	ns = pasta_listen_place(e->pasta);
	ns.held = listeners_held(&e->listeners);
	return listeners_open(&e->ns_listeners, &e->out, &ns);
}

/* What leaves traces in the file system comes last. */
int engine_open(struct engine *e, const struct conf *c, struct pasta *pasta)
{
	int err;

	*e = (struct engine){ .conf = c,
			      .pasta = pasta,
			      .loop = { .epfd = -1 },
			      .signal_fd = -1,
			      .listen_fd = -1,
			      .socket_dir_fd = -1,
			      .control_fds = { -1, -1 } };
	e->socket_left = e->control_left = leftover_none();
	err = signals_block(e);
	if (err)
		return err;
	err = ports_open(e);
	if (err) {
		log_err("Couldn't listen on requested ports");
		return err;
	}
	err = socket_open(e);
	if (!err)
		err = control_open(e);
	return err ? err : capture_open(e);
}

static void left_undo(struct leftover *l, const char *path)
{
	int err = leftover_remove(l);

	if (err)
		log_debug("Socket %s stays: %s", path, strerror(-err));
}

void engine_undo(struct engine *e)
{
	if (!e->conf)
		return; /* engine_open() was never called */
	left_undo(&e->socket_left, e->socket_path);
	left_undo(&e->control_left, e->conf->conf_path);
	listeners_undo(&e->listeners);
}

/* --- starting --- */

static void guest_init(struct engine *e)
{
	const struct conf *c = e->conf;

	e->told = c->guest;
	e->nat = c->nat;
	e->guest = (struct guest){ .addr4 = c->guest.addr4, .addr6 = c->guest.addr6, .fixed4 = c->fixed4, .fixed6 = c->fixed6 };
	e->guest.assigned4 = c->guest.addr4;
	e->guest.assigned6 = c->guest.addr6;
	e->guest.nat = &e->nat;
	memcpy(e->guest.our_mac, c->guest.our_mac, MAC_LEN);
	e->guest.mac_given = c->guest.mac_given;
	if (mac_is_zero(c->guest_mac))
		memset(e->guest.mac, 0xff, MAC_LEN);
	else
		memcpy(e->guest.mac, c->guest_mac, MAC_LEN);
}

static int link_open_tap(struct engine *e, const struct link_cb *cb)
{
	static const struct {
		uint32_t tun, link;
	} bits[] = {
		{ TUN_CSUM, LINK_OFF_CSUM },
		{ TUN_TSO4, LINK_OFF_TSO4 },
		{ TUN_TSO6, LINK_OFF_TSO6 },
		{ TUN_USO4 | TUN_USO6, LINK_OFF_USO },
	};
	struct tun *t = &e->pasta->tun;
	struct tap_conf tc = { .fd = t->fd, .vnet_hdr = t->vnet_hdr_len, .mtu = e->conf->mtu, .cb = *cb };
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if ((t->offloads & bits[i].tun) == bits[i].tun)
			tc.offloads |= bits[i].link;
	}
	err = tap_new(&e->loop, &tc, &e->link);
	if (!err)
		t->fd = -1;
	return err;
}

static int link_open_stream(struct engine *e, const struct link_cb *cb)
{
	const struct conf *c = e->conf;
	struct stream_conf sc = { .listen_fd = e->listen_fd, .fd = c->fd, .one_off = c->one_off, .mtu = c->mtu, .cb = *cb };
	int err = stream_new(&e->loop, &sc, &e->link);

	if (!err)
		e->listen_fd = -1;
	return err;
}

static int link_open_packet(struct engine *e, const struct link_cb *cb)
{
	const struct conf *c = e->conf;
	bool bound = c->socket_type == SOCK_DGRAM;
	struct packet_conf pc = {
		.listen_fd = bound ? -1 : e->listen_fd,
		.bound_fd = bound ? e->listen_fd : -1,
		.dir_fd = e->socket_dir_fd,
		.dir = e->socket_dir,
		.fd = c->fd,
		.one_off = c->one_off,
		.mtu = c->mtu,
		.cb = *cb,
	};
	int err = packet_new(&e->loop, &pc, &e->link);

	if (!err)
		e->listen_fd = e->socket_dir_fd = -1;
	return err;
}

static int link_open_vhost(struct engine *e, const struct link_cb *cb)
{
	const struct conf *c = e->conf;
	struct vhost_conf vc = { .listen_fd = e->listen_fd, .fd = c->fd, .one_off = c->one_off, .mtu = c->mtu, .cb = *cb };
	int err = vhost_new(&e->loop, &vc, &e->link);

	if (!err)
		e->listen_fd = -1;
	return err;
}

static int link_open(struct engine *e)
{
	struct link_cb cb = { .rx = on_rx, .tx_ready = on_tx_ready, .up = on_up, .down = on_down, .gone = on_gone, .ctx = e };
	int err;

	if (!e->pasta && e->conf->vhost_user)
		err = link_open_vhost(e, &cb);
	else if (!e->pasta && e->conf->socket_type != SOCK_STREAM)
		err = link_open_packet(e, &cb);
	else if (!e->pasta)
		err = link_open_stream(e, &cb);
	else if (e->pasta->tun.fd >= 0)
		err = link_open_tap(e, &cb);
	else
		err = null_new(&cb, e->conf->mtu, &e->link);
	if (err)
		return err;
	neigh_init(&e->neigh, e->link, neigh_ask);
	if (e->pcap)
		capture_begin(e);
	return 0;
}

static void on_frags_late(struct timer *t, uint64_t now_ns)
{
	dispatch_frags_late(container_of(t, struct engine, frag_timer));
}

static int tables_open(struct engine *e)
{
	const struct conf_limits *l = &e->conf->limits;
	struct flow_limits fl = { .rate = l->flow_rate };
	size_t slot = MAX(tcp_slot_size(), udp_slot_size());
	struct hash_key key;
	uint32_t flows;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	slot = MAX(slot, icmp_slot_size());
	e->budget = share_find(e);
	flows = l->flows ? MIN(l->flows, e->budget.flows) : e->budget.flows;
	e->flows = flow_table_new(flows, (slot + 7) & ~(size_t)7, &key);
	e->frags = frags_new(l->reassembly / FRAG_MEMORY);
	timer_init(&e->frag_timer, on_frags_late);
	if (!e->flows || !e->frags)
		return -ENOMEM;
	fl.half_open = l->half_open ? l->half_open : MAX(flows / 2, 1u);
	flow_table_limit(e->flows, &fl);
	return 0;
}

static int translators_open(struct engine *e)
{
	const struct conf *c = e->conf;
	struct tcp_deps td = {
		&e->loop, e->link, e->flows, &e->guest, &e->nat, &c->out, { { 0 } }, e->budget.ready, c->limits.spill
	};
	struct udp_deps ud = {
		&e->loop, e->link, e->flows, &e->guest, &e->nat, &c->out, { c->udp_timeout_s, c->udp_timeout_stream_s }
	};
	struct icmp_deps id = { &e->loop, e->link, e->flows, &e->guest, &e->nat, &c->out };

	if (getrandom(&td.key, sizeof(td.key), 0) != sizeof(td.key))
		return -EIO;
	if (c->tcp)
		e->tcp = tcp_new(&td);
	if (c->udp)
		e->udp = udp_new(&ud);
	if (c->icmp)
		e->icmp = icmp_new(&id);
	if ((c->tcp && !e->tcp) || (c->udp && !e->udp) || (c->icmp && !e->icmp))
		return -ENOMEM;
	if (e->tcp)
		tcp_set_listeners(e->tcp, &e->listeners);
	if (e->udp)
		udp_set_listeners(e->udp, &e->listeners);
	return 0;
}

static int guest_listeners_start(struct engine *e)
{
	struct unix_in_conf uc = { .loop = &e->loop,
				   .ls = &e->listeners,
				   .tcp = e->tcp,
				   .v4 = e->conf->v4,
				   .max = e->unix_in_max,
				   .pipes = MIN(e->unix_in_max, UNIX_IN_PIPES),
				   .soon = fwd_table_has(&e->in, FWD_AT_PATH) };
	int err = e->unix_in_max ? unix_in_new(&uc, &e->unix_in) : 0;
	unsigned tcp = e->unix_in ? unix_in_owner(e->unix_in) : e->tcp ? tcp_listen_owner(e->tcp) : 0;

	return err ? err : listeners_start(&e->listeners, &e->loop, tcp, e->udp ? udp_listen_owner(e->udp) : 0);
}

/* Who hears of the listeners: in pasta mode some of what arrives there doesn't go to the translators. */
static int listeners_open_events(struct engine *e)
{
	struct pasta_fwd_deps d = { .conf = e->conf,
				    .budget = &e->budget,
				    .guest = &e->guest,
				    .loop = &e->loop,
				    .in = &e->listeners,
				    .out = &e->ns_listeners,
				    .tcp = e->tcp,
				    .udp = e->udp,
				    .ctx = e };

	if (!e->pasta)
		return guest_listeners_start(e);
	d.agent = &e->pasta->agent;
	if (e->pasta->annex.h.fd >= 0) {
		d.annex = &e->pasta->annex;
		d.raw = e->pasta->raw;
		d.nslink = &e->pasta->nslink;
	}
	if (e->control_fds.listen >= 0)
		d.opened = control_port_opened;
	if (e->conf->ns.splice_only)
		d.tcp = NULL;
	return pasta_fwd_new(&d, &e->fwd);
}

static void on_interface_gone(void *ctx)
{
	struct engine *e = ctx;

	tap_gone(e->link);
}

static int link_start(struct engine *e)
{
	int err;

	if (!e->pasta && e->conf->vhost_user)
		return vhost_start(e->link);
	if (!e->pasta)
		return e->conf->socket_type == SOCK_STREAM ? stream_start(e->link) : packet_start(e->link);
	e->pasta->gone = on_interface_gone;
	e->pasta->gone_ctx = e;
	err = pasta_start(e->pasta, &e->loop);
	return err || e->conf->ns.splice_only ? err : tap_start(e->link);
}

static int loop_open(struct engine *e)
{
	int err = loop_init(&e->loop);

	if (!err)
		err = signals_open(e);
	if (err)
		return err;
	e->loop.turn_end = on_turn_end;
	e->loop.turn_ctx = e;
	e->signal_owner = loop_owner(&e->loop, on_signal, e);
	timer_init(&e->ra_timer, ra_due);
	return loop_add(&e->loop, e->signal_fd, ref_init(e->signal_owner, 0, 0), EPOLLIN);
}

/* What a command may want at once is there when it starts. */
static int ports_settle(struct engine *e)
{
	int err = 0;

	while (!err && !e->loop.stop && e->fwd && !pasta_fwd_settled(e->fwd))
		err = loop_turn(&e->loop);
	return err;
}

static int stats_start(struct engine *e)
{
	if (!e->conf->stats_s)
		return 0;
	e->stats = (struct stats){
		.timers = &e->loop.timers,
		.every_ns = e->conf->stats_s * NSEC_PER_SEC,
		.get = on_stats,
		.ctx = e,
		.fd = STDOUT_FILENO,
	};
	stats_init(&e->stats, e->loop.now_ns);
	return 0;
}

/* Whoever can connect finds all of it ready. */
static int control_start(struct engine *e)
{
	int err = e->control_fds.listen < 0 ? 0 : control_new(e, &e->control_fds, &e->control);

	if (!err)
		e->control_fds = (struct control_fds){ -1, -1 };
	return err;
}

int engine_start(struct engine *e, pid_t pid, struct hostwatch *host)
{
	static int (*const step[])(struct engine *) = {
		loop_open,  tables_open,  link_open,   translators_open, listeners_open_events,
		link_start, ports_settle, stats_start, control_start,
	};
	int err = 0;

	e->pid = pid;
	guest_init(e);
	for (size_t i = 0; !err && i < ARRAY_SIZE(step); i++)
		err = step[i](e);
	if (!err && host)
		err = hostwatch_open(host, &e->loop, on_host, e);
	if (err)
		log_err("Couldn't start: %s", strerror(-err));
	return err;
}

/* --- running and closing --- */

int engine_run(struct engine *e)
{
	int status;

	leftover_forget(&e->socket_left);
	leftover_forget(&e->control_left);
	listeners_keep(&e->listeners);
	settle_memory();
	status = loop_run(&e->loop);

	if (status < 0) {
		log_err("Event loop failed: %s", strerror(-status));
		status = EXIT_FAILURE;
	}
	control_exit(e->control, status);
	return status;
}

static void flow_abort(void *ctx, struct flow *f)
{
	struct engine *e = ctx;

	if (f->key.proto == PROTO_TCP)
		tcp_flow_abort(e->tcp, f);
	else if (f->key.proto == PROTO_UDP)
		udp_flow_abort(e->udp, f);
	else
		icmp_flow_abort(e->icmp, f);
}

void engine_close(struct engine *e)
{
	stats_fini(&e->stats);
	control_free(e->control);
	pasta_fwd_free(e->fwd);
	unix_in_free(e->unix_in);
	if (e->flows)
		flow_each(e->flows, flow_abort, e);
	if (e->link)
		link_flush(e->link);
	listeners_close(&e->listeners);
	listeners_close(&e->ns_listeners);
	if (e->tcp)
		tcp_free(e->tcp);
	if (e->udp)
		udp_free(e->udp);
	if (e->icmp)
		icmp_free(e->icmp);
	if (e->link && e->pasta && !e->conf->ns.splice_only && pasta_is_over(e->pasta))
		tap_leave(e->link);
	if (e->link)
		e->link->ops->free(e->link);
	sock_close(e->listen_fd);
	sock_close(e->socket_dir_fd);
	for (unsigned i = 0; i < e->passed.ports; i++)
		sock_close(e->passed.port[i].fd);
	sock_close(e->control_fds.listen);
	sock_close(e->control_fds.file);
	if (e->flows)
		flow_table_free(e->flows);
	if (e->frags)
		frags_free(e->frags);
	pcap_close(e->pcap);
	pcap_free(e->captures);
	sock_close(e->signal_fd);
	loop_fini(&e->loop);
}
