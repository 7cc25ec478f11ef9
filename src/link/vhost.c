/* SPDX-License-Identifier: MIT */
#include "link/vhost.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "link/accept.h"
#include "link/vhost/req.h"
#include "link/vhost/rx.h"
#include "link/vhost/tx.h"
#include "os/event.h"
#include "os/sock.h"

#ifndef VIRTIO_NET_F_GUEST_USO4 /* Linux 6.2 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif

#define BIT(n) (UINT64_C(1) << (n))
#define NET_FEATURES \
	(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) | BIT(VIRTIO_NET_F_HOST_USO) | \
	 BIT(VIRTIO_NET_F_MRG_RXBUF))

#define TO_GUEST 0u /* of each pair of rings, and of the first */
#define FROM_GUEST 1u
#define MESSAGES 64u /* of one event */
#define BATCHES 8u /* of one event of a ring */
#define POLL_NS NSEC_PER_MSEC
#define REFILL_NS (20 * NSEC_PER_MSEC) /* by then a guest at work has put half of its buffers back */
#define MTU_PLAIN 1500u /* what buffers of a driver without any offload hold */

enum which { WHICH_LISTEN, WHICH_FRONT, WHICH_STATE, WHICH_RING };

struct vhost {
	struct link link;
	struct loop *loop;
	unsigned owner;
	uint32_t gen; /* of the connection and of its descriptors */
	struct acceptor acceptor;
	int fd; /* of the front-end; -1: none */
	bool one_off;
	uint32_t blocked; /* bits of rings that a reservation got nothing of: tx_ready() is owed */
	bool broken; /* a ring was; until the guest starts its rings again */
	bool reset; /* asked for; frames that were handed up may still be in use */
	size_t mtu; /* as configured */

	struct vdev dev;
	struct vchan chan;
	struct vtx tx;
	struct vrx rx;
	uint32_t ring_gen[VDEV_RINGS];
	uint32_t ring_more; /* bits of rings that have more to be read than one event may */
	struct timer again;
	uint32_t ring_polled; /* bits of rings that nobody will tell of */
	struct timer poll;
	struct pair {
		struct vhost *vhost;
		uint64_t from_guest, to_guest; /* frames, since the guest was up */
		struct timer refill; /* while a reservation waits for buffers to the guest */
	} pair[VDEV_PAIRS];
};

static struct vhost *vhost_of(struct link *l)
{
	return container_of(l, struct vhost, link);
}

/* --- what the device tells --- */

static void on_settle(void *ctx)
{
	vtx_flush(&((struct vhost *)ctx)->tx);
}

static void on_watch(void *ctx, unsigned ring, bool on)
{
	struct vhost *v = ctx;
	int fd = v->dev.ring[ring].kick;

	v->ring_gen[ring]++;
	if (!on)
		loop_del(v->loop, fd);
	else if (loop_add(v->loop, fd, ref_init(v->owner, WHICH_RING + ring, v->ring_gen[ring]), EPOLLIN))
		log_limited(LOG_LVL_WARN, "The kick descriptor of the guest's ring %u is none that can be waited for", ring);
	/* The guest may have kicked before the descriptor was ours. */
	v->ring_more |= on ? 1u << ring : 0;
	if (on && !timer_armed(&v->again))
		timer_set(&v->loop->timers, &v->again, v->loop->now_ns);
}

/* What can't be waited for, as a file, is read when the front-end asks for the result. */
static void on_watch_state(void *ctx, bool on)
{
	struct vhost *v = ctx;
	int fd = v->dev.state_fd;

	if (!on)
		loop_del(v->loop, fd);
	else if (loop_add(v->loop, fd, ref_init(v->owner, WHICH_STATE, v->gen), EPOLLIN))
		log_limited(LOG_LVL_DEBUG, "The state of another back-end comes by a descriptor that can't be waited for");
}

static uint32_t offloads_of(const struct vdev *d)
{
	uint32_t o = LINK_OFF_CSUM;

	/* Segments can only be cut from what has no complete checksum. */
	if (!vdev_has(d, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	if (vdev_has(d, VIRTIO_NET_F_GUEST_TSO4))
		o |= LINK_OFF_TSO4;
	if (vdev_has(d, VIRTIO_NET_F_GUEST_TSO6))
		o |= LINK_OFF_TSO6;
	if (vdev_has(d, VIRTIO_NET_F_GUEST_USO4) && vdev_has(d, VIRTIO_NET_F_GUEST_USO6))
		o |= LINK_OFF_USO;
	return o;
}

static uint32_t rings_live(const struct vhost *v)
{
	uint32_t live = 0;

	for (unsigned i = 0; i < VDEV_RINGS; i++)
		live |= vdev_ring_live(&v->dev.ring[i]) ? 1u << i : 0;
	return live;
}

/* Those who wait for these rings may go on. False: there is nobody. */
static bool unblock(struct vhost *v, uint32_t rings)
{
	if (!v->link.up || !(v->blocked & rings))
		return false;
	for (rings &= v->blocked; rings; rings &= rings - 1) {
		unsigned i = (unsigned)__builtin_ctz(rings);

		v->blocked &= ~(1u << i);
		timer_cancel(&v->loop->timers, &v->pair[i / 2].refill);
	}
	v->link.cb.tx_ready(v->link.cb.ctx);
	return true;
}

static void pairs_log(struct vhost *v)
{
	for (unsigned i = 0; i < VDEV_PAIRS; i++) {
		if (v->pair[i].from_guest || v->pair[i].to_guest)
			log_debug("Queue pair %u: %" PRIu64 " frames from the guest, %" PRIu64 " to it", i, v->pair[i].from_guest,
				  v->pair[i].to_guest);
		v->pair[i].from_guest = v->pair[i].to_guest = 0;
	}
}

static void up_update(struct vhost *v)
{
	uint32_t live = rings_live(v);
	bool up = live >> TO_GUEST & 1 && live >> FROM_GUEST & 1;

	if (up && v->link.up) {
		/* What waits for a ring that is no more goes on by the first. */
		unblock(v, ~live);
		return;
	}
	if (up == v->link.up)
		return;
	v->link.up = up;
	if (!up) {
		pairs_log(v);
		v->link.cb.down(v->link.cb.ctx);
		return;
	}
	v->broken = false;
	v->link.cb.up(v->link.cb.ctx);
	unblock(v, ~UINT32_C(0));
}

/* Entries of the smallest queue to the guest that frames may pass by. */
static size_t size_min(const struct vhost *v)
{
	size_t min = v->dev.ring[TO_GUEST].conf.size;

	for (unsigned i = TO_GUEST; i < VDEV_RINGS; i += 2) {
		if (vdev_ring_live(&v->dev.ring[i]))
			min = MIN(min, (size_t)v->dev.ring[i].conf.size);
	}
	return min;
}

static void poll_update(struct vhost *v)
{
	v->ring_polled = 0;
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		if (v->dev.ring[i].polled && vq_running(&v->dev.ring[i].q))
			v->ring_polled |= 1u << i;
	}
	if (!v->ring_polled)
		timer_cancel(&v->loop->timers, &v->poll);
	else if (!timer_armed(&v->poll))
		timer_set(&v->loop->timers, &v->poll, v->loop->now_ns);
}

static void on_changed(void *ctx)
{
	struct vhost *v = ctx;
	const struct vdev *d = &v->dev;
	bool merge = vdev_has(d, VIRTIO_NET_F_MRG_RXBUF);
	size_t vnet =
		vdev_has(d, VIRTIO_F_VERSION_1) || merge ? sizeof(struct virtio_net_hdr_mrg_rxbuf) : sizeof(struct virtio_net_hdr);
	bool super;

	v->tx.merge = merge;
	v->tx.vnet = v->rx.vnet = (unsigned)vnet;
	v->link.offloads = offloads_of(d);
	super = v->link.offloads & (LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO);
	v->link.mtu = merge || super ? v->mtu : MIN(v->mtu, (size_t)MTU_PLAIN);
	v->link.max_body = super ? 65535 : v->link.mtu;
	/* A driver may fill its queue up only when half of it is empty; more than the other half holds would never get through. */
	if (merge && size_min(v)) {
		size_t half = size_min(v) / 2 * (size_t)MTU_PLAIN;

		v->link.max_body = MIN(v->link.max_body, MAX(half, (size_t)MTU_PLAIN));
		v->link.mtu = MIN(v->link.mtu, v->link.max_body);
	}
	up_update(v);
	poll_update(v);
}

/* --- the connection --- */

static void front_close(struct vhost *v)
{
	if (v->fd < 0)
		return;
	v->gen++;
	v->reset = false;
	loop_del(v->loop, v->fd);
	vdev_reset(&v->dev);
	vchan_fini(&v->chan);
	close(v->fd);
	v->fd = -1;
	v->ring_more = 0;
	log_limited(LOG_LVL_INFO, "Client connection closed%s", v->one_off ? ", exiting" : "");
	if (v->one_off)
		v->link.cb.gone(v->link.cb.ctx);
}

static int front_open(struct vhost *v, int fd)
{
	int err = loop_add(v->loop, fd, ref_init(v->owner, WHICH_FRONT, v->gen), EPOLLIN);

	if (err)
		return err;
	v->fd = fd;
	vchan_init(&v->chan, fd);
	return 0;
}

static void front_read(struct vhost *v)
{
	int err = 1;

	for (unsigned i = 0; i < MESSAGES && err == 1; i++) {
		err = vchan_recv(&v->chan);
		if (err == 1 && vreq_handle(&v->dev, &v->chan))
			err = -EPIPE;
	}
	if (err == -EPROTO)
		log_limited(LOG_LVL_WARN, "What the guest's front-end says is no vhost-user message");
	if (err < 0)
		front_close(v);
}

static void front_accept(struct vhost *v)
{
	int fd;

	/* One that comes back at once may be seen before its old connection was read to the end. */
	while (peer_hung_up(v->fd))
		front_read(v);
	if (!guest_listen_take(&v->acceptor, v->fd >= 0, &fd) && front_open(v, fd))
		close(fd);
}

/* --- the rings --- */

static void device_stop(struct vhost *v)
{
	for (unsigned i = 0; i < VDEV_RINGS; i++)
		vdev_ring_stop(&v->dev, i);
}

/* One that breaks the rules, or is in no state to go on: nothing moves until the guest resets its device. */
static void ring_broken(struct vhost *v, unsigned i, const char *why)
{
	/* Without its memory no ring makes sense: of that, memory_check() tells. */
	if (!v->broken && !vmem_torn(&v->dev.mem))
		log_limited(LOG_LVL_WARN, "Ring %u of the guest is broken (%s): its device is stopped", i, why);
	v->broken = true;
	vdev_ring_fail(&v->dev, i);
	device_stop(v);
}

static void frames_up(struct vhost *v, unsigned pair, unsigned n)
{
	if (!n)
		return;
	v->link.stats.rx_frames += n;
	v->pair[pair].from_guest += n;
	for (unsigned k = 0; k < n; k++)
		v->link.stats.rx_bytes += v->rx.frame[k].len;
	v->link.rx_queue = pair;
	v->link.cb.rx(v->link.cb.ctx, v->rx.frame, n);
	v->link.rx_queue = 0;
}

/* What the guest has sent. False: nothing. */
static bool ring_read(struct vhost *v, unsigned i)
{
	struct vq *q = &v->dev.ring[i].q;
	uint32_t gen = v->ring_gen[i];
	bool any = false;

	for (unsigned batch = 0; batch < BATCHES; batch++) {
		unsigned n = 0;
		int got;

		vq_want_kick(q, VQ_QUIET);
		got = vrx_take(&v->rx, i, &n);
		if (got < 0) {
			ring_broken(v, i, "what it holds makes no sense");
			return true;
		}
		any |= got > 0;
		v->link.stats.rx_bad += v->rx.bad;
		frames_up(v, i / 2, n);
		if (gen != v->ring_gen[i])
			return true; /* the link was reset */
		vrx_return(&v->rx, i);
		if (!got && !vq_want_kick(q, VQ_ANY))
			return any;
	}
	/* Others have a turn first. */
	v->ring_more |= 1u << i;
	if (!timer_armed(&v->again))
		timer_set(&v->loop->timers, &v->again, v->loop->now_ns);
	return true;
}

/* The guest has buffers for us. False: nobody waits for any. */
static bool ring_fill(struct vhost *v, unsigned i)
{
	vq_want_kick(&v->dev.ring[i].q, VQ_QUIET);
	return unblock(v, 1u << i);
}

/* False: there was nothing to do. */
static bool ring_work(struct vhost *v, unsigned i)
{
	/* Perhaps all that was missing is here now. */
	if (vdev_ring_start(&v->dev, i))
		return false;
	return i & 1 ? ring_read(v, i) : ring_fill(v, i);
}

static void ring_kicked(struct vhost *v, unsigned i)
{
	int err = event_read(v->dev.ring[i].kick);

	if (err == -EAGAIN)
		return;
	/* Something else than an event would be readable for ever. */
	if (err) {
		ring_broken(v, i, "its kicks are no events");
		return;
	}
	v->link.stats.kicks++;
	v->link.stats.kicks_idle += !ring_work(v, i);
}

static void rings_again(struct timer *t, uint64_t now_ns)
{
	struct vhost *v = container_of(t, struct vhost, again);
	uint32_t rings = v->ring_more;

	v->ring_more = 0;
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		if (rings >> i & 1)
			ring_work(v, i);
	}
}

static void rings_poll(struct timer *t, uint64_t now_ns)
{
	struct vhost *v = container_of(t, struct vhost, poll);
	uint32_t rings = v->ring_polled;
	uint64_t before = v->link.stats.rx_frames;

	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		if (rings >> i & 1)
			ring_work(v, i);
	}
	/* Who sends something may well send more; else not all of the time is ours. */
	if (v->ring_polled)
		timer_set(&v->loop->timers, &v->poll, now_ns + (v->link.stats.rx_frames == before) * POLL_NS);
}

/* Half of the buffers that the guest had at a time are long in coming: perhaps it has no need for so many any more. */
static void ring_refill_late(struct timer *t, uint64_t now_ns)
{
	struct pair *p = container_of(t, struct pair, refill);
	unsigned i = 2 * (unsigned)(p - p->vhost->pair) + TO_GUEST;

	if (vq_want_less(&p->vhost->dev.ring[i].q))
		ring_fill(p->vhost, i);
}

/* Nothing could be reserved: who asked is told when there is something. */
static void ring_blocked(struct vhost *v, unsigned i)
{
	struct timer *late = &v->pair[i / 2].refill;

	v->blocked |= 1u << i;
	/* Not later and later, with each one that asks. */
	if (v->dev.ring[i].conf.event_idx && !timer_armed(late))
		timer_set(&v->loop->timers, late, v->loop->now_ns + REFILL_NS);
}

/* --- the link --- */

static void memory_check(struct vhost *v)
{
	if (v->fd < 0 || !vmem_torn(&v->dev.mem))
		return;
	log_limited(LOG_LVL_WARN, "The guest's front-end has cut off memory that it shares: resetting connection");
	front_close(v);
}

static void vhost_on_event(struct link *l, unsigned which, uint32_t events)
{
	struct vhost *v = vhost_of(l);

	if (which == WHICH_LISTEN)
		front_accept(v);
	else if (which == WHICH_FRONT)
		front_read(v);
	else if (which == WHICH_STATE)
		(void)vdev_state_read(&v->dev);
	else
		ring_kicked(v, which - WHICH_RING);
}

static void loop_event(void *ctx, struct ref ref, uint32_t events)
{
	struct vhost *v = ctx;
	bool current = true;

	if (ref.index == WHICH_FRONT)
		current = v->fd >= 0 && ref.gen == (v->gen & 0xffffff);
	else if (ref.index == WHICH_STATE)
		current = v->dev.state_fd >= 0;
	else if (ref.index >= WHICH_RING)
		current = v->dev.ring[ref.index - WHICH_RING].kick >= 0 &&
			  ref.gen == (v->ring_gen[ref.index - WHICH_RING] & 0xffffff);
	if (current)
		v->link.ops->on_event(&v->link, ref.index, events);
}

/*
 * Automatic receive steering (virtio 1.2 section 5.1.6.5.6): what goes to a flow takes the pair that its frames came by, while the
 * driver uses that.
 */
static unsigned ring_for(const struct vhost *v, unsigned pair)
{
	unsigned i = 2 * pair + TO_GUEST;

	return pair < VDEV_PAIRS && vdev_ring_live(&v->dev.ring[i]) ? i : TO_GUEST;
}

static size_t vhost_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct vhost *v = vhost_of(l);
	unsigned i = ring_for(v, w->queue);
	struct vq *q = &v->dev.ring[i].q;
	size_t got = vtx_reserve(&v->tx, i, f, w);

	if (!got && w->n && l->up) {
		/* It may fill up its queue when it sees what it has got; what it did just before the question counts as well. */
		vtx_flush(&v->tx);
		for (unsigned tries = 0; !got && tries <= q->conf.size && vq_want_kick(q, VQ_HALF); tries++)
			got = vtx_reserve(&v->tx, i, f, w);
		if (got)
			vq_want_kick(q, VQ_QUIET);
		if (q->broken)
			ring_broken(v, i, "what it holds makes no sense");
	}
	if (!got && w->n) {
		ring_blocked(v, i);
		l->stats.tx_full++;
	}
	return got;
}

static void vhost_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct vhost *v = vhost_of(l);

	if (!vtx_commit(&v->tx, f, h, len))
		return;
	v->pair[v->tx.ring / 2].to_guest++;
	l->stats.tx_frames++;
	l->stats.tx_bytes += h->len + len;
}

static void vhost_flush(struct link *l)
{
	struct vhost *v = vhost_of(l);

	vtx_flush(&v->tx);
	memory_check(v);
	if (v->reset)
		front_close(v);
}

static void vhost_reset(struct link *l)
{
	vhost_of(l)->reset = true;
}

static void vhost_free(struct link *l)
{
	struct vhost *v = vhost_of(l);

	acceptor_fini(&v->acceptor);
	if (v->fd >= 0) {
		loop_del(v->loop, v->fd);
		vchan_fini(&v->chan);
		close(v->fd);
	}
	v->link.up = false; /* nobody is to be told any more */
	vdev_fini(&v->dev);
	timer_cancel(&v->loop->timers, &v->again);
	timer_cancel(&v->loop->timers, &v->poll);
	for (unsigned i = 0; i < VDEV_PAIRS; i++)
		timer_cancel(&v->loop->timers, &v->pair[i].refill);
	vtx_fini(&v->tx);
	vrx_fini(&v->rx);
	free(v);
}

static const struct link_ops vhost_ops = {
	.on_event = vhost_on_event,
	.reserve = vhost_reserve,
	.commit = vhost_commit,
	.flush = vhost_flush,
	.reset = vhost_reset,
	.free = vhost_free,
};

static int parts_init(struct vhost *v)
{
	struct vdev_cb cb = {
		.settle = on_settle, .watch = on_watch, .watch_state = on_watch_state, .changed = on_changed, .ctx = v
	};
	int err = vtx_init(&v->tx, &v->dev);

	if (err)
		return err;
	err = vrx_init(&v->rx, &v->dev);
	if (!err) {
		err = vdev_init(&v->dev, NET_FEATURES, &cb);
		if (!err)
			return 0;
		vrx_fini(&v->rx);
	}
	vtx_fini(&v->tx);
	return err;
}

int vhost_new(struct loop *loop, const struct vhost_conf *c, struct link **ret_link)
{
	struct vhost *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	err = parts_init(v);
	if (err) {
		free(v);
		return err;
	}
	v->link = (struct link){ .ops = &vhost_ops, .cb = c->cb, .mtu = c->mtu, .max_body = c->mtu };
	v->mtu = c->mtu;
	v->loop = loop;
	v->owner = loop_owner(loop, loop_event, v);
	v->fd = c->fd;
	v->one_off = c->one_off || c->fd >= 0;
	guest_listen_init(&v->acceptor, loop, c->listen_fd);
	timer_init(&v->again, rings_again);
	timer_init(&v->poll, rings_poll);
	for (unsigned i = 0; i < VDEV_PAIRS; i++) {
		v->pair[i].vhost = v;
		timer_init(&v->pair[i].refill, ring_refill_late);
	}
	*ret_link = &v->link;
	return 0;
}

int vhost_start(struct link *l)
{
	struct vhost *v = vhost_of(l);
	int fd = v->fd;

	acceptor_start(&v->acceptor, ref_init(v->owner, WHICH_LISTEN, 0));
	if (fd < 0)
		return 0;
	v->fd = -1;
	return front_open(v, fd);
}
