/* SPDX-License-Identifier: MIT */
/*
 * Guests whose messages are frames, over a connected pair, a socket that they connect to, or one that they send datagrams to; they come,
 * send messages of any length, read or don't, and go. The frames that come out are messages that went in, in their order, and of one
 * connected guest all that have the length of a frame.
 */
#include <assert.h>
#include <sys/un.h>

#include "link/packet.h"
#include "link_target.h"

#define GUESTS 2
#define FLOOD_LEN 15 /* a frame of this length is answered by more than the guest takes at once */

enum mode { PAIR, PAIR_DATAGRAM, LISTEN, BOUND, MODES };

struct fuzz {
	struct link_target t;
	enum mode mode;
	struct sockaddr_un at; /* where guests connect or send to */
	socklen_t at_len;
	int guest[GUESTS]; /* -1: not there */
	struct link_message sent[LINK_TARGET_MESSAGES];
	bool came[LINK_TARGET_MESSAGES];
	unsigned next, end; /* the first that has not come; how many there are */
	unsigned empty; /* messages; a whole batch of them looks like the end */
	bool lossy; /* some may be left out, and those of one guest come before those of another */
};

/* The message that has come as this frame. */
static void find(struct fuzz *z, const struct frame *f)
{
	unsigned i = z->next;

	while (z->lossy && i < z->end && (z->came[i] || !link_message_is(&z->sent[i], 0, f)))
		i++;
	assert(i < z->end && link_message_is(&z->sent[i], 0, f));
	z->came[i] = true;
	while (z->next < z->end && z->came[z->next])
		z->next++;
}

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	struct fuzz *z = container_of(ctx, struct fuzz, t);

	for (unsigned i = 0; i < n; i++) {
		assert(f[i].len >= 14 && f[i].len <= 65535 && !f[i].gso_type);
		find(z, &f[i]);
		link_target_flood(&z->t, f[i].len == FLOOD_LEN ? 80 : 0);
		link_target_echo(&z->t, &f[i]);
	}
}

/* A socket with a name that the kernel chooses. */
static int named(int type, struct sockaddr_un *ret_at, socklen_t *ret_len)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	*ret_at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_len = sizeof(*ret_at);
	if (fd < 0 || bind(fd, (struct sockaddr *)ret_at, sizeof(sa_family_t)) ||
	    getsockname(fd, (struct sockaddr *)ret_at, ret_len))
		abort();
	return fd;
}

static void op_come(struct fuzz *z, unsigned g, bool name)
{
	struct sockaddr_un own;
	socklen_t len;

	if (z->guest[g] >= 0 || !z->at_len)
		return;
	if (z->mode == BOUND && name)
		z->guest[g] = named(SOCK_DGRAM, &own, &len);
	else
		z->guest[g] = socket(AF_UNIX, (z->mode == BOUND ? SOCK_DGRAM : SOCK_SEQPACKET) | SOCK_NONBLOCK, 0);
	if (z->guest[g] < 0)
		abort();
	/* It may be somebody else's turn; or too many have come and gone. */
	(void)!connect(z->guest[g], (struct sockaddr *)&z->at, z->at_len);
	z->lossy = true;
}

/* What it has not read makes that a reset, behind which nothing is heard of what it sent. */
static void op_go(struct fuzz *z, unsigned g)
{
	z->lossy = true;
	if (z->guest[g] >= 0)
		close(z->guest[g]);
	z->guest[g] = -1;
}

static void op_send(struct fuzz *z, unsigned g, struct rd *in)
{
	uint8_t buf[UINT16_MAX];
	struct link_message m = link_message_read(in);

	if (z->guest[g] < 0 || z->end == LINK_TARGET_MESSAGES || !rd_ok(in))
		return;
	if (!link_message_send(&m, z->guest[g], buf))
		return;
	if (m.len >= 14)
		z->sent[z->end++] = m;
	z->empty += !m.len;
	z->lossy |= z->empty == LINK_BATCH;
}

static void op_read(struct fuzz *z, unsigned g, unsigned n)
{
	uint8_t buf[UINT16_MAX];

	while (n-- && z->guest[g] >= 0 && recv(z->guest[g], buf, sizeof(buf), MSG_DONTWAIT) > 0) {
	}
}

/* What is waited for comes at once. */
static void op_time(struct fuzz *z)
{
	struct loop *l = &z->t.loop;

	l->now_ns += 2 * NSEC_PER_SEC;
	timers_run(&l->timers, l->now_ns);
}

static void op(struct fuzz *z, struct rd *in)
{
	uint8_t what = rd_u8(in);
	unsigned g = z->mode < LISTEN ? 0 : what >> 7;

	switch (what % 8) {
	case 0:
	case 1:
		op_send(z, g, in);
		break;
	case 2:
		op_come(z, g, what & 0x40);
		break;
	case 3:
		op_go(z, g);
		break;
	case 4:
		op_read(z, g, what >> 3 & 15);
		break;
	case 5:
		op_time(z);
		break;
	case 6:
		z->lossy = true;
		z->t.link->ops->reset(z->t.link);
		break;
	default:
		link_target_turn(&z->t);
		break;
	}
}

static void open_link(struct fuzz *z, bool one_off)
{
	struct packet_conf c = {
		.listen_fd = -1, .bound_fd = -1, .dir_fd = -1, .dir = "", .fd = -1, .one_off = one_off, .mtu = 65520
	};

	c.cb = link_target_cb(&z->t, on_rx);
	if (z->mode < LISTEN) {
		c.fd = link_target_pair(&z->t, z->mode == PAIR ? SOCK_SEQPACKET : SOCK_DGRAM);
		z->guest[0] = z->t.peer;
		z->t.peer = -1;
	} else if (z->mode == LISTEN) {
		c.listen_fd = named(SOCK_SEQPACKET, &z->at, &z->at_len);
		if (listen(c.listen_fd, 8))
			abort();
	} else {
		c.bound_fd = named(SOCK_DGRAM, &z->at, &z->at_len);
	}
	if (packet_new(&z->t.loop, &c, &z->t.link) || packet_start(z->t.link))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;
	struct rd in = rd_init(data, len);
	uint8_t conf = rd_u8(&in);

	memset(&z, 0, sizeof(z));
	z.mode = conf % MODES;
	z.guest[0] = z.guest[1] = -1;
	link_target_init(&z.t);
	open_link(&z, conf & 0x80);
	while (rd_left(&in) && !z.t.gone)
		op(&z, &in);
	for (unsigned i = 0; i < 8; i++)
		link_target_turn(&z.t);
	assert(z.lossy || z.next == z.end);
	for (unsigned g = 0; g < GUESTS; g++)
		op_go(&z, g);
	link_target_turn(&z.t);
	link_target_turn(&z.t);
	assert(z.mode != PAIR || z.t.gone);
	link_target_fini(&z.t);
	return 0;
}
