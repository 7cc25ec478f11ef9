/* SPDX-License-Identifier: MIT */
#include "tcp/hand.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "tcp/conn.h"

/* --- listening --- */

static struct ref port_ref(const struct tcp_hand *h, unsigned i)
{
	return ref_init(h->owner, i, h->port[i].port);
}

/* The one in this place is closed. Events are by place: the last one gets another one. */
static void port_drop(struct tcp_hand *h, unsigned i)
{
	h->port[i] = h->port[--h->n];
	if (i < h->n && loop_mod(h->t->d.loop, h->port[i].fd, port_ref(h, i), EPOLLIN))
		log_limited(LOG_LVL_WARN, "TCP: can't watch a socket");
}

/* Whoever was about to be accepted there is refused, and tries again. */
static void port_close(struct tcp *t, unsigned i)
{
	loop_del(t->d.loop, t->hand->port[i].fd);
	sock_close(t->hand->port[i].fd);
}

static void idle_arm(struct tcp *t)
{
	if (t->hand->n && !timer_armed(&t->hand->idle))
		timer_set(&t->d.loop->timers, &t->hand->idle, t->d.loop->now_ns + HAND_WAIT_NS);
}

static void on_idle(struct timer *timer, uint64_t now_ns)
{
	struct tcp_hand *h = container_of(timer, struct tcp_hand, idle);
	unsigned i = 0;

	while (i < h->n) {
		if (h->port[i].used_ns + HAND_WAIT_NS > now_ns) {
			i++;
			continue;
		}
		port_close(h->t, i);
		port_drop(h, i);
	}
	idle_arm(h->t);
}

/* Where a new one may be: behind all, or in the place of the one that was not used for longest. */
static unsigned port_place(struct tcp *t)
{
	struct tcp_hand *h = t->hand;
	unsigned oldest = 0;

	if (h->n < HAND_PORTS)
		return h->n++;
	for (unsigned i = 1; i < h->n; i++) {
		if (h->port[i].used_ns < h->port[oldest].used_ns)
			oldest = i;
	}
	port_close(t, oldest);
	return oldest;
}

static int port_listen(int fd, const struct hand_port *p)
{
	struct ep all = { .addr = p->v6 ? addr_any6 : addr_any4, .port = p->port };
	int err = sock_bind(fd, p->v6 ? AF_INET6 : AF_INET, &all, 0);

	return err ? err : sock_listen(fd, HAND_BACKLOG);
}

static int port_open(struct tcp *t, bool v6, uint16_t port, unsigned *ret_i)
{
	struct tcp_hand *h = t->hand;
	struct hand_port p = { .port = port, .v6 = v6 };
	int err = h->c.take(h->c.ctx, v6 ? AF_INET6 : AF_INET, &p.fd);
	unsigned i;

	if (err)
		return err;
	err = port_listen(p.fd, &p);
	if (err) {
		sock_close(p.fd);
		return err;
	}
	i = port_place(t);
	h->port[i] = p;
	err = loop_add(t->d.loop, p.fd, port_ref(h, i), EPOLLIN);
	if (err) {
		sock_close(p.fd);
		port_drop(h, i);
		return err;
	}
	idle_arm(t);
	*ret_i = i;
	return 0;
}

static int port_get(struct tcp *t, bool v6, uint16_t port, unsigned *ret_i)
{
	struct tcp_hand *h = t->hand;
	unsigned i = 0;
	int err = 0;

	while (i < h->n && (h->port[i].port != port || h->port[i].v6 != v6))
		i++;
	if (i == h->n)
		err = port_open(t, v6, port, &i);
	if (err)
		return err;
	h->port[i].used_ns = t->d.loop->now_ns;
	*ret_i = i;
	return 0;
}

/* --- accepting --- */

static struct tcp_conn *conn_waiting(struct tcp *t, const struct ep *guest, const struct ep *remote)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &guest->addr, guest->port, &remote->addr, remote->port);
	struct flow *f = flow_find(t->d.flows, &key);
	struct tcp_conn *k = f ? container_of(f, struct tcp_conn, f) : NULL;

	return k && k->state == CONN_HANDED ? k : NULL;
}

/* The guest's side of a connection has come. */
static void hand_over(struct tcp *t, int fd, const struct ep *guest)
{
	struct tcp_conn *k = NULL;
	struct ep remote;
	int host_fd;

	if (!sock_local(fd, &remote))
		k = conn_waiting(t, guest, &remote);
	if (!k) {
		log_debug("TCP: a connection was accepted that nobody waits for");
		sock_abort(fd);
		return;
	}
	if (k->host_dead) {
		t->hand->stats.end[HAND_REMOTE_GONE]++;
		sock_abort(fd);
		conn_reset_host(k);
		return;
	}
	log_trace("TCP flow %u: handed over", k->f.index);
	t->hand->stats.end[HAND_OUT]++;
	host_fd = k->fd;
	k->fd = -1;
	conn_free(k);
	t->hand->c.join(t->hand->c.ctx, fd, host_fd);
}

static void port_accept(struct tcp *t, unsigned i, unsigned max)
{
	struct ep guest;
	int fd;

	while (max-- && !sock_accept(t->hand->port[i].fd, &guest, &fd))
		hand_over(t, fd, &guest);
}

void tcp_on_hand(void *ctx, struct ref ref, uint32_t events)
{
	struct tcp *t = ctx;

	(void)events;
	if (t->hand && ref.index < t->hand->n && t->hand->port[ref.index].port == ref.gen)
		port_accept(t, ref.index, HAND_BACKLOG);
}

/* --- saying it again --- */

static int syn_send(const struct tcp_conn *k)
{
	const struct flow_key *key = &k->f.key;
	bool v4 = addr_is4(&key->remote);
	uint8_t packet[TCP_SYN_MAX];
	struct sockaddr_storage name;
	struct iovec iov = { .iov_base = packet, .iov_len = tcp_syn_put(&k->syn, key, packet) };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &name, .msg_iov = &iov, .msg_iovlen = 1 } };
	int n;

	m.msg_hdr.msg_namelen = sock_from_ep(v4 ? AF_INET : AF_INET6, &(struct ep){ .addr = key->remote }, 0, &name);
	n = sock_sendmmsg(k->t->hand->c.raw[!v4], &m, 1, 0);
	return n < 0 ? n : 0;
}

void hand_again(struct tcp_conn *k)
{
	struct tcp *t = k->t;
	unsigned i = 0;
	int err = port_get(t, !addr_is4(&k->f.key.remote), k->f.key.rport, &i);

	if (err == -EAGAIN) {
		if (list_empty(&k->wait_node))
			list_push(&t->hand->wait, &k->wait_node);
		return;
	}
	list_del(&k->wait_node);
	if (!err)
		err = syn_send(k);
	if (err && err != -EAGAIN && err != -ENOBUFS) { /* with these, the guest sends again */
		t->hand->stats.end[HAND_NO_SOCKET]++;
		log_limited(LOG_LVL_WARN, "TCP: a connection can't be handed over: %s", strerror(-err));
		conn_reset(k);
		return;
	}
	port_accept(t, i, 1); /* as a rule it is there by now */
}

void hand_begin(struct tcp_conn *k)
{
	struct tcp *t = k->t;

	conn_set(k, CONN_HANDED);
	carry_connected(k);
	timer_set(&t->d.loop->timers, &k->timer, t->d.loop->now_ns + HAND_WAIT_NS);
	hand_again(k);
}

void hand_late(struct tcp_conn *k)
{
	log_debug("TCP flow %u: the guest doesn't want it any more", k->f.index);
	k->t->hand->stats.end[HAND_GUEST_GONE]++;
	conn_reset_host(k);
}

void hand_given_up(struct tcp_conn *k)
{
	k->t->hand->stats.end[HAND_GUEST_GONE]++;
	conn_reset_host(k);
}

/* --- what has become of them --- */

const char *hand_end_name(enum hand_end e)
{
	static const char *const name[HAND_ENDS] = {
		[HAND_OUT] = "tcp_handed_over",
		[HAND_IN] = "tcp_handed_over_inwards",
		[HAND_NO_SOCKET] = "tcp_handover_no_socket",
		[HAND_GUEST_GONE] = "tcp_handover_guest_gone",
		[HAND_REMOTE_GONE] = "tcp_handover_remote_gone",
	};

	return name[e];
}

const char *hand_stay_name(enum tcp_stay s)
{
	static const char *const name[TCP_STAYS_KINDS] = {
		[TCP_STAYS_LINK_LOCAL] = "tcp_kept_link_local",
		[TCP_STAYS_HEADERS] = "tcp_kept_extension_headers",
		[TCP_STAYS_MAPPED] = "tcp_kept_mapped_address",
	};

	return name[s];
}

const struct hand_stats *tcp_hand_stats(const struct tcp *t)
{
	return t->hand ? &t->hand->stats : NULL;
}

unsigned tcp_hand_listeners(const struct tcp *t)
{
	return t->hand ? t->hand->n : 0;
}

/* --- life --- */

void tcp_hand_ready(struct tcp *t)
{
	struct list todo;

	list_init(&todo);
	list_splice(&todo, &t->hand->wait);
	while (!list_empty(&todo)) {
		struct tcp_conn *k = container_of(todo.next, struct tcp_conn, wait_node);

		list_del(&k->wait_node);
		hand_again(k);
	}
}

int tcp_set_hand(struct tcp *t, const struct tcp_hand_conf *c)
{
	t->hand = calloc(1, sizeof(*t->hand));
	if (!t->hand)
		return -ENOMEM;
	t->hand->c = *c;
	t->hand->t = t;
	timer_init(&t->hand->idle, on_idle);
	t->hand->owner = loop_owner(t->d.loop, tcp_on_hand, t);
	list_init(&t->hand->wait);
	/* Who joins two sockets peeks at them as well, from the beginning. */
	t->no_peek_off[0] = t->no_peek_off[1] = true;
	return 0;
}

void hand_free(struct tcp *t)
{
	if (!t->hand)
		return;
	timer_cancel(&t->d.loop->timers, &t->hand->idle);
	while (t->hand->n)
		port_close(t, --t->hand->n);
	free(t->hand);
	t->hand = NULL;
}
