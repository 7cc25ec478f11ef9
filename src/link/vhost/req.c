/* SPDX-License-Identifier: MIT */
#include "link/vhost/req.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "os/sock.h"

#define BIT(n) (UINT64_C(1) << (n))
#define RING_SIZE_MAX VQ_SIZE_MAX

struct reply {
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_user_inflight inflight;
	};
	size_t len; /* 8 unless said otherwise */
	int fd; /* -1: none */
};

/* How the ring is named, if one is. */
enum names { NO_RING, RING_STATE, RING_FD, RING_ADDR };

/* What is sent back: an acknowledgement if asked for, a value (zero on failure), or an acknowledgement in any case, perhaps with a bit set. */
enum answer { ACK_IF_ASKED, VALUE, ACK, ACK_NO_FD };

struct request {
	const char *name;
	uint16_t size, size_max; /* of the payload; size_max 0: as size */
	uint8_t fds, fds_max; /* fds_max 0: as fds */
	enum names names;
	bool stopped; /* the ring may not be running; one that is disabled is stopped */
	uint8_t needs; /* protocol feature that has to be acknowledged, plus one; 0: none */
	enum answer answer;
	int (*run)(struct vdev *d, struct vchan *c, struct reply *ret_reply);
};

uint64_t vreq_protocol_features(void)
{
	return BIT(PF_MQ) | BIT(PF_LOG_SHMFD) | BIT(PF_RARP) | BIT(PF_REPLY_ACK) | BIT(PF_BACKEND_REQ) | BIT(PF_INFLIGHT_SHMFD) |
	       BIT(PF_RESET_DEVICE) | BIT(PF_CONFIGURE_MEM_SLOTS) | BIT(PF_DEVICE_STATE);
}

static struct vhost_vring_state body_state(const struct vchan *c)
{
	struct vhost_vring_state s;

	memcpy(&s, c->body.bytes, sizeof(s));
	return s;
}

/* Ring that a message names by its descriptor. */
static unsigned body_ring(const struct vchan *c)
{
	return c->body.u64 & 0xff;
}

/*
 * Drivers refuse several queues (VIRTIO_NET_F_MQ) without a control queue, which only the front-end can have: one that knows of several
 * queues itself does, others may pass on to the driver whatever we offer. So these aren't told before it has said so.
 */
static int get_features(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	ret_reply->u64 = d->protocol & BIT(PF_MQ) ? d->offered : d->offered & ~BIT(VIRTIO_NET_F_MQ);
	return 0;
}

static int set_features(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	if (c->body.u64 & ~d->offered)
		return -EINVAL;
	d->features = c->body.u64;
	/* Who does not know of enabling has all rings enabled. */
	for (unsigned i = 0; !vdev_has(d, VHOST_USER_F_PROTOCOL_FEATURES) && i < VDEV_RINGS; i++)
		d->ring[i].enabled = true;
	d->cb.changed(d->cb.ctx);
	return 0;
}

static int get_protocol_features(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	ret_reply->u64 = vreq_protocol_features();
	return 0;
}

static int set_protocol_features(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	if (c->body.u64 & ~vreq_protocol_features())
		return -EINVAL;
	d->protocol = c->body.u64;
	return 0;
}

/*
 * The session begins with its connection; resetting the owner is to be ignored as older front-ends and back-ends mean different things by
 * it; an announcement of the guest by RARP is for switches on the way to it, of which there are none.
 */
static int nothing(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	return 0;
}

static struct vmem_region region_of(const struct vhost_user_region *r)
{
	return (struct vmem_region){ .guest = r->guest, .size = r->size, .user = r->user, .offset = r->offset };
}

static int set_mem_table(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_user_mem t = { .n = 0 };
	int err = 0;

	memcpy(&t, c->body.bytes, MIN((size_t)c->hdr.size, sizeof(t)));
	if (t.n > VHOST_USER_FDS || t.n != c->n_fds ||
	    c->hdr.size < offsetof(struct vhost_user_mem, region) + t.n * sizeof(t.region[0]))
		return -EINVAL;
	d->cb.settle(d->cb.ctx);
	vmem_clear(&d->mem);
	for (unsigned i = 0; i < t.n && !err; i++) {
		struct vmem_region r = region_of(&t.region[i]);

		err = vmem_add(&d->mem, &r, c->fd[i]);
		if (!err && d->mem.n == i)
			err = -EEXIST; /* twice in one table */
	}
	if (err)
		vmem_clear(&d->mem);
	vdev_remap(d);
	return err;
}

static int get_max_mem_slots(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	ret_reply->u64 = VMEM_REGIONS;
	return 0;
}

static struct vmem_region body_region(const struct vchan *c)
{
	struct vhost_user_mem_reg m;

	memcpy(&m, c->body.bytes, sizeof(m));
	return region_of(&m.region);
}

static int add_mem_reg(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vmem_region r = body_region(c);

	return vmem_add(&d->mem, &r, c->fd[0]);
}

static int rem_mem_reg(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vmem_region r = body_region(c);
	int err;

	d->cb.settle(d->cb.ctx);
	err = vmem_del(&d->mem, &r);
	vdev_remap(d);
	return err;
}

/* The descriptor of a message. That it does not wait is a courtesy of ours: the front-end may change that at any time (os/event.h). */
static int fd_take(struct vchan *c, int *ret_fd)
{
	int err = c->n_fds ? sock_set_nonblock(c->fd[0]) : 0;

	if (!err)
		*ret_fd = c->n_fds ? vchan_take_fd(c, 0) : -1;
	return err;
}

static int set_log_fd(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	int fd = -1;
	int err = fd_take(c, &fd);

	if (!err)
		vdev_fd_set(&d->log_call, fd);
	return err;
}

static int set_log_base(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_user_log l;

	memcpy(&l, c->body.bytes, sizeof(l));
	return dirty_open(&d->dirty, c->fd[0], l.size, l.offset);
}

static int set_vring_num(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_vring_state s = body_state(c);

	if (!s.num || s.num > RING_SIZE_MAX || (s.num & (s.num - 1) && !vdev_has(d, VIRTIO_F_RING_PACKED)))
		return -EINVAL;
	d->ring[s.index].conf.size = (uint16_t)s.num;
	return 0;
}

static int set_vring_base(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_vring_state s = body_state(c);

	if (s.num > UINT16_MAX && !vdev_has(d, VIRTIO_F_RING_PACKED))
		return -EINVAL;
	d->ring[s.index].conf.base = s.num;
	return 0;
}

/* Also to a ring that runs: when its log is switched on or off. */
static int set_vring_addr(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_vring_addr a;
	struct vdev_ring *r;
	bool moves;

	memcpy(&a, c->body.bytes, sizeof(a));
	if (a.flags & ~(uint32_t)BIT(VHOST_VRING_F_LOG))
		return -EINVAL;
	r = &d->ring[a.index];
	moves = a.desc_user_addr != r->conf.desc || a.avail_user_addr != r->conf.avail || a.used_user_addr != r->conf.used;
	if (moves && vq_running(&r->q)) {
		d->cb.settle(d->cb.ctx);
		r->conf.base = vq_stop(&r->q);
	}
	r->conf.desc = a.desc_user_addr;
	r->conf.avail = a.avail_user_addr;
	r->conf.used = a.used_user_addr;
	r->used_log = a.log_guest_addr;
	r->log_used = a.flags & BIT(VHOST_VRING_F_LOG);
	r->has_addr = true;
	return vdev_ring_start(d, a.index);
}

static int get_vring_base(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_vring_state s = body_state(c);

	ret_reply->state = (struct vhost_vring_state){ .index = s.index, .num = vdev_ring_stop(d, s.index) };
	return 0;
}

static int set_vring_kick(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	unsigned i = body_ring(c);
	int fd = -1;
	int err = fd_take(c, &fd);

	if (err)
		return err;
	return vdev_ring_kick(d, i, fd);
}

static int set_vring_call(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vdev_ring *r = &d->ring[body_ring(c)];
	int fd = -1;
	int err = fd_take(c, &fd);

	if (err)
		return err;
	vdev_fd_set(&r->call, fd);
	/* What it missed while there was none. */
	vdev_ring_call(d, body_ring(c));
	return 0;
}

static int set_vring_err(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	int fd = -1;
	int err = fd_take(c, &fd);

	if (err)
		return err;
	vdev_fd_set(&d->ring[body_ring(c)].err, fd);
	return 0;
}

static int set_vring_enable(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_vring_state s = body_state(c);

	if (s.num > 1)
		return -EINVAL;
	d->ring[s.index].enabled = s.num;
	d->cb.changed(d->cb.ctx);
	return 0;
}

static int get_queue_num(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	ret_reply->u64 = VDEV_PAIRS;
	return 0;
}

static int set_backend_req_fd(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	vdev_fd_set(&d->req_fd, vchan_take_fd(c, 0));
	return 0;
}

static int get_inflight_fd(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_user_inflight f = { .size = 0 };
	uint64_t size;
	int fd;

	memcpy(&f, c->body.bytes, c->hdr.size);
	if (!f.queues || f.queues > VDEV_RINGS || !f.queue_size || f.queue_size > RING_SIZE_MAX)
		return -EINVAL;
	size = f.queues * inflight_len(vdev_has(d, VIRTIO_F_RING_PACKED), f.queue_size);
	fd = memfd_create("inflight", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size)) {
		int err = -errno;

		close(fd);
		return err;
	}
	ret_reply->inflight = (struct vhost_user_inflight){ .size = size, .queues = f.queues, .queue_size = f.queue_size };
	ret_reply->len = c->hdr.size;
	ret_reply->fd = fd;
	return 0;
}

static int set_inflight_fd(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_user_inflight f = { .size = 0 };

	memcpy(&f, c->body.bytes, c->hdr.size);
	if (!f.queues || f.queues > VDEV_RINGS || f.offset % INFLIGHT_ALIGN)
		return -EINVAL;
	return vdev_inflight(d, c->fd[0], &f);
}

/* There is nothing to be saved: whoever reads finds the end at once. */
static int set_device_state_fd(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	struct vhost_user_state s;
	int err, fd = -1;

	memcpy(&s, c->body.bytes, sizeof(s));
	if (s.load > 1 || s.phase)
		return -EINVAL;
	if (!s.load)
		return 0;
	err = fd_take(c, &fd);
	if (!err)
		vdev_state_load(d, fd);
	return err;
}

static int check_device_state(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	return vdev_state_read(d);
}

static int reset_device(struct vdev *d, struct vchan *c, struct reply *ret_reply)
{
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		vdev_ring_stop(d, i);
		d->ring[i].enabled = false;
		d->ring[i].conf.base = 0;
	}
	return 0;
}

#define STATE sizeof(struct vhost_vring_state)
#define ADDR sizeof(struct vhost_vring_addr)
#define TABLE_MIN offsetof(struct vhost_user_mem, region)
#define REGION sizeof(struct vhost_user_mem_reg)
#define INFLIGHT_MIN offsetof(struct vhost_user_inflight, padding)
#define INFLIGHT_MAX sizeof(struct vhost_user_inflight)

static const struct request *request_of(uint32_t number)
{
	/* clang-format off */
	static const struct request table[] = {
		[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", .answer = VALUE, .run = get_features },
		[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", .size = 8, .run = set_features },
		[VHOST_USER_SET_OWNER] = { "SET_OWNER", .run = nothing },
		[VHOST_USER_RESET_OWNER] = { "RESET_OWNER", .run = nothing },
		[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", .size = TABLE_MIN, .size_max = sizeof(struct vhost_user_mem),
			.fds_max = VHOST_USER_FDS, .run = set_mem_table },
		[VHOST_USER_SET_LOG_BASE] = { "SET_LOG_BASE", .size = sizeof(struct vhost_user_log), .fds = 1,
			.needs = PF_LOG_SHMFD + 1, .answer = ACK, .run = set_log_base },
		[VHOST_USER_SET_LOG_FD] = { "SET_LOG_FD", .size_max = 8, .fds = 1, .run = set_log_fd },
		[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", .size = STATE, .names = RING_STATE, .stopped = true,
			.run = set_vring_num },
		[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", .size = ADDR, .names = RING_STATE, .run = set_vring_addr },
		[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", .size = STATE, .names = RING_STATE, .stopped = true,
			.run = set_vring_base },
		[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", .size = STATE, .names = RING_STATE, .answer = VALUE,
			.run = get_vring_base },
		[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", .size = 8, .fds_max = 1, .names = RING_FD, .run = set_vring_kick },
		[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", .size = 8, .fds_max = 1, .names = RING_FD, .run = set_vring_call },
		[VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", .size = 8, .fds_max = 1, .names = RING_FD, .run = set_vring_err },
		[VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", .answer = VALUE, .run = get_protocol_features },
		[VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", .size = 8, .run = set_protocol_features },
		[VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", .answer = VALUE, .run = get_queue_num },
		[VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", .size = STATE, .names = RING_STATE, .run = set_vring_enable },
		[VHOST_USER_SEND_RARP] = { "SEND_RARP", .size = 8, .run = nothing },
		[VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", .size_max = 8, .fds = 1, .run = set_backend_req_fd },
		[VHOST_USER_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", .size = INFLIGHT_MIN, .size_max = INFLIGHT_MAX,
			.needs = PF_INFLIGHT_SHMFD + 1, .answer = VALUE, .run = get_inflight_fd },
		[VHOST_USER_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", .size = INFLIGHT_MIN, .size_max = INFLIGHT_MAX, .fds = 1,
			.needs = PF_INFLIGHT_SHMFD + 1, .run = set_inflight_fd },
		[VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", .run = reset_device },
		[VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", .needs = PF_CONFIGURE_MEM_SLOTS + 1, .answer = VALUE,
			.run = get_max_mem_slots },
		[VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", .size = REGION, .fds = 1, .needs = PF_CONFIGURE_MEM_SLOTS + 1,
			.run = add_mem_reg },
		/* Some pass a descriptor that is of no use. */
		[VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", .size = REGION, .fds_max = 1, .needs = PF_CONFIGURE_MEM_SLOTS + 1,
			.run = rem_mem_reg },
		[VHOST_USER_SET_DEVICE_STATE_FD] = { "SET_DEVICE_STATE_FD", .size = sizeof(struct vhost_user_state), .fds = 1,
			.needs = PF_DEVICE_STATE + 1, .answer = ACK_NO_FD, .run = set_device_state_fd },
		[VHOST_USER_CHECK_DEVICE_STATE] = { "CHECK_DEVICE_STATE", .needs = PF_DEVICE_STATE + 1, .answer = ACK,
			.run = check_device_state },
	};
	/* clang-format on */

	return number < ARRAY_SIZE(table) && table[number].run ? &table[number] : NULL;
}

/* The ring that a message names is one of ours, in a state that allows for it. */
static int ring_check(const struct vdev *d, const struct request *q, const struct vchan *c)
{
	unsigned i = q->names == RING_FD ? body_ring(c) : body_state(c).index;

	if (i >= VDEV_RINGS)
		return -ENOENT;
	if (q->names == RING_FD && c->n_fds != (c->body.u64 & VHOST_USER_NO_FD ? 0 : 1))
		return -EBADF;
	return q->stopped && vdev_ring_live(&d->ring[i]) ? -EBUSY : 0;
}

static int request_check(const struct vdev *d, const struct request *q, const struct vchan *c)
{
	if (c->hdr.size < q->size || c->hdr.size > (size_t)MAX(q->size, q->size_max))
		return -EMSGSIZE;
	if (c->fds_bad || c->n_fds < q->fds || c->n_fds > (size_t)MAX(q->fds, q->fds_max))
		return -EBADF;
	return q->names == NO_RING ? 0 : ring_check(d, q, c);
}

static const char *error_text(int err)
{
	switch (err) {
	case -ENOENT:
		return "no such ring, or region";
	case -EBADF:
		return "wrong number of descriptors";
	case -EBUSY:
		return "the ring is running";
	case -EMSGSIZE:
		return "wrong size";
	case -EFBIG:
		return "the file is too short";
	case -EFAULT:
		return "not in the guest's memory";
	default:
		return strerror(-err);
	}
}

static int answer(const struct vdev *d, struct vchan *c, uint64_t failed)
{
	if (!(c->hdr.flags & VHOST_USER_NEED_REPLY) || !(d->protocol & BIT(PF_REPLY_ACK)))
		return 0;
	return vchan_reply(c, &failed, sizeof(failed), -1);
}

static int request_run(struct vdev *d, const struct request *q, struct vchan *c)
{
	struct reply reply = { .len = sizeof(uint64_t), .fd = -1 };
	int err = request_check(d, q, c);

	/* Some front-ends stop a ring by disabling it, and never ask for its position. */
	if (!err && q->stopped && vq_running(&d->ring[body_state(c).index].q))
		vdev_ring_halt(d, body_state(c).index);
	if (!err)
		err = q->run(d, c, &reply);
	if (err)
		log_limited(LOG_LVL_WARN, "Request %s of the guest's front-end failed: %s", q->name, error_text(err));
	else
		log_limited(LOG_LVL_DEBUG, "Request %s of the guest's front-end", q->name);
	if (q->answer == ACK_IF_ASKED)
		return answer(d, c, err != 0);
	if (q->answer != VALUE)
		reply.u64 = (err != 0) | (q->answer == ACK_NO_FD ? VHOST_USER_NO_FD : 0);
	err = vchan_reply(c, &reply, reply.len, reply.fd);
	if (reply.fd >= 0)
		close(reply.fd);
	return err;
}

int vreq_handle(struct vdev *d, struct vchan *c)
{
	const struct request *q = request_of(c->hdr.request);
	int err;

	if (q && q->needs && !(d->protocol >> (q->needs - 1) & 1))
		q = NULL;
	if (c->hdr.flags & VHOST_USER_REPLY)
		err = 0; /* we asked nothing */
	else if (q)
		err = request_run(d, q, c);
	else
		err = answer(d, c, 1);
	if (!q)
		log_limited(LOG_LVL_WARN, "Request %u of the guest's front-end is not one that we know of", c->hdr.request);
	vchan_drop_fds(c);
	return err;
}
