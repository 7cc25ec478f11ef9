/* SPDX-License-Identifier: MIT */
#include "tcp/splice.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/list.h"
#include "base/log.h"
#include "os/sock.h"
#include "os/tcpfin.h"
#include "tcp/pipe_pool.h"
#include "tcp/splice_dir.h"

#define TURN_BYTES (2u << 20) /* moved in one direction before other connections get their turn */
#define TURN_ACTS 64 /* and so many system calls */
#define MOVE_MAX (1u << 20) /* asked for at once */
#define COPY_BUF (64u << 10)
#define PIPES_SPARE 4 /* kept while there is no connection */
#define NO_SLOT UINT32_MAX
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET) /* of both sockets, always, */
#define EVENTS_UNIX (EVENTS & ~(uint32_t)EPOLLPRI) /* and of one that has nothing urgent */

enum state {
	STATE_FREE,
	STATE_CONNECTING, /* fd[1] is connecting; of fd[0] only a reset concerns us */
	STATE_JOINED,
};

struct conn {
	struct list again; /* in splice.again: more to do, without an event */
	uint32_t next_free;
	uint32_t gen : 24;
	uint32_t state : 4;
	uint32_t way : 1; /* enum splice_way */
	uint32_t err : 1; /* a socket has reported an error */
	uint32_t unix_ends : 2; /* a bit for each of fd that is a UNIX socket */
	int fd[2]; /* accepted, connected */
	struct splice_dir dir[2]; /* dir[i] has fd[i] as its input */
	uint32_t taken[2]; /* bytes read from fd[i], modulo 2^32 */
	uint64_t moved[2]; /* bytes of it that have reached the other one */
	uint64_t born_ns;
	struct pipe pipe[2];
};

struct splice {
	struct loop *loop;
	unsigned owner;
	struct conn *conn;
	uint32_t max, fresh; /* slots; those from fresh on were never used */
	uint32_t free; /* first free one of the others */
	struct list again;
	struct timer turn; /* runs what is in again */
	struct pipe_pool pipes;
	struct splice_stats stats;
	uint8_t buf[COPY_BUF];
};

static bool is_unix(const struct conn *k, unsigned side)
{
	return k->unix_ends & 1u << side;
}

/* Each connection has two references: slot times two, plus the side. */
static struct ref ref_of(const struct splice *s, const struct conn *k, unsigned side)
{
	return ref_init(s->owner, (uint32_t)(k - s->conn) * 2 + side, k->gen);
}

static struct conn *slot_take(struct splice *s)
{
	struct conn *k;
	uint32_t gen;

	if (s->free != NO_SLOT) {
		k = &s->conn[s->free];
		s->free = k->next_free;
	} else if (s->fresh < s->max) {
		k = &s->conn[s->fresh++];
	} else {
		return NULL;
	}
	gen = k->gen;
	*k = (struct conn){ .gen = gen & 0xffffff, .state = STATE_CONNECTING, .pipe = { PIPE_NONE, PIPE_NONE } };
	k->born_ns = s->loop->now_ns;
	list_init(&k->again);
	s->stats.now++;
	return k;
}

static void slot_give(struct splice *s, struct conn *k)
{
	list_del(&k->again);
	k->state = STATE_FREE;
	k->gen = (k->gen + 1) & 0xffffff;
	k->next_free = s->free;
	s->free = (uint32_t)(k - s->conn);
	s->stats.now--;
}

static void conn_end(struct splice *s, struct conn *k, bool reset)
{
	for (unsigned i = 0; i < 2; i++) {
		loop_del(s->loop, k->fd[i]);
		if (reset) {
			sock_abort(k->fd[i]);
		} else {
			if (k->state == STATE_JOINED && !is_unix(k, i))
				(void)!sock_linger_off(k->fd[i]);
			sock_close(k->fd[i]);
		}
		pipe_pool_put(&s->pipes, &k->pipe[i], !k->dir[i].piped);
	}
	if (reset)
		s->stats.reset++;
	else
		s->stats.closed++;
	slot_give(s, k);
	if (!s->stats.now)
		pipe_pool_trim(&s->pipes, PIPES_SPARE);
}

static void moved(struct splice *s, struct conn *k, unsigned i, ssize_t bytes)
{
	k->moved[i] += (uint64_t)bytes;
	s->stats.bytes[i] += (uint64_t)bytes;
}

static bool pipe_hold(struct splice *s, struct conn *k, unsigned i)
{
	return k->pipe[i].rd >= 0 || pipe_pool_get(&s->pipes, &k->pipe[i]);
}

/* 0 from splice(2) at the input may also mean that the urgent byte is next: only recv(2) knows. */
static void end_check(struct conn *k, unsigned i)
{
	uint8_t byte;
	ssize_t r = sock_recv(k->fd[i], &(struct iovec){ &byte, 1 }, 1, MSG_PEEK);

	if (r > 0)
		splice_dir_at_mark(&k->dir[i]);
	else
		splice_dir_filled(&k->dir[i], r);
}

/*
 * What was said of an output, as the error that it is: splice(2) may send a part and swallow the reset that stops it. All that is left then
 * is a pipe that is broken, as behind an end of file that the peer sent before.
 */
static ssize_t sent_result(const struct conn *k, unsigned i, ssize_t r)
{
	return r == -EPIPE && !is_unix(k, !i) && !tcpfin_arrived(k->fd[!i], k->taken[!i]) ? -ECONNRESET : r;
}

/* Takes len bytes from input i that have been seen there, and sent: nobody else reads from it. */
static void input_drop(struct splice *s, struct conn *k, unsigned i, size_t len)
{
	ssize_t got = is_unix(k, i) ? sock_recv(k->fd[i], &(struct iovec){ s->buf, len }, 1, 0) : sock_discard(k->fd[i], len);

	if (got != (ssize_t)len)
		k->dir[i].in_broken = true;
}

/* Each of the following takes one step in direction i and returns how many bytes have got nearer to the output. */

static size_t step_copy(struct splice *s, struct conn *k, unsigned i)
{
	ssize_t got = sock_recv(k->fd[i], &(struct iovec){ s->buf, COPY_BUF }, 1, MSG_PEEK);
	ssize_t sent;

	if (got <= 0) {
		splice_dir_filled(&k->dir[i], got);
		return 0;
	}
	sent = sock_send(k->fd[!i], &(struct iovec){ s->buf, (size_t)got }, 1, 0);
	if (sent <= 0) {
		splice_dir_drained(&k->dir[i], sent_result(k, i, sent));
		return 0;
	}
	input_drop(s, k, i, (size_t)sent);
	k->taken[i] += (uint32_t)sent;
	s->stats.copied += (uint64_t)sent;
	moved(s, k, i, sent);
	return (size_t)sent;
}

static size_t step_fill(struct splice *s, struct conn *k, unsigned i)
{
	struct splice_dir *d = &k->dir[i];
	ssize_t r;

	if (!pipe_hold(s, k, i)) {
		d->copy = true;
		return 0;
	}
	r = pipe_fill(&k->pipe[i], k->fd[i], MOVE_MAX);
	if (r || splice_dir_end_sure(d))
		splice_dir_filled(d, r);
	else
		end_check(k, i);
	if (r <= 0)
		return 0;
	k->taken[i] += (uint32_t)r;
	return (size_t)r;
}

static size_t step_drain(struct splice *s, struct conn *k, unsigned i)
{
	struct splice_dir *d = &k->dir[i];
	ssize_t r = pipe_drain(&k->pipe[i], k->fd[!i], d->piped);

	splice_dir_drained(d, sent_result(k, i, r));
	if (r > 0)
		moved(s, k, i, r);
	return 0;
}

/* The urgent byte is in band at our end (SO_OOBINLINE), so it is read like any other once all before it has gone. */
static size_t step_urgent(struct splice *s, struct conn *k, unsigned i)
{
	struct splice_dir *d = &k->dir[i];
	uint8_t byte;
	struct iovec iov = { &byte, 1 };
	ssize_t r;

	if (!pipe_at_mark(k->fd[i]))
		return d->copy ? step_copy(s, k, i) : step_fill(s, k, i);
	r = sock_recv(k->fd[i], &iov, 1, MSG_PEEK);
	if (r <= 0) {
		splice_dir_filled(d, r);
		return 0;
	}
	r = sock_send(k->fd[!i], &iov, 1, is_unix(k, !i) ? 0 : MSG_OOB);
	if (r <= 0) {
		splice_dir_drained(d, sent_result(k, i, r));
		return 0;
	}
	input_drop(s, k, i, 1);
	k->taken[i]++;
	d->urgent = false;
	s->stats.urgent++;
	moved(s, k, i, 1);
	return 1;
}

/* All that direction i can do now, but no more than its share. True if there is more. */
static bool dir_pump(struct splice *s, struct conn *k, unsigned i)
{
	struct splice_dir *d = &k->dir[i];
	size_t moved = 0;

	d->copy = false;
	for (unsigned acts = 0; acts < TURN_ACTS && moved < TURN_BYTES; acts++) {
		switch (splice_dir_next(d)) {
		case SPLICE_FILL:
			moved += step_fill(s, k, i);
			break;
		case SPLICE_DRAIN:
			moved += step_drain(s, k, i);
			break;
		case SPLICE_COPY:
			moved += step_copy(s, k, i);
			break;
		case SPLICE_URGENT:
			moved += step_urgent(s, k, i);
			break;
		case SPLICE_SHUT:
			splice_dir_shut(d, sock_shutdown_wr(k->fd[!i]));
			break;
		case SPLICE_WAIT:
		case SPLICE_DONE:
			return false;
		}
	}
	return true;
}

static void conn_pump(struct splice *s, struct conn *k)
{
	bool more = false;
	enum splice_end end;

	for (unsigned i = 0; i < 2; i++) {
		splice_dir_hear(&k->dir[i], &k->dir[!i]);
		more = dir_pump(s, k, i) || more;
		if (!k->dir[i].piped)
			pipe_pool_put(&s->pipes, &k->pipe[i], true);
	}
	end = splice_dirs_end(k->dir, k->err);
	if (end != SPLICE_GO_ON) {
		conn_end(s, k, end == SPLICE_RESET);
		return;
	}
	if (!more)
		return;
	list_del(&k->again);
	list_push(&s->again, &k->again);
	if (!timer_armed(&s->turn))
		timer_set(&s->loop->timers, &s->turn, s->loop->now_ns);
}

/* The timer is always due at once: it makes the loop look for events of others in between. */
static void on_turn(struct timer *t, uint64_t now_ns)
{
	struct splice *s = container_of(t, struct splice, turn);
	struct list todo;

	list_init(&todo);
	list_splice(&todo, &s->again);
	while (!list_empty(&todo)) {
		struct conn *k = container_of(todo.next, struct conn, again);

		list_del(&k->again);
		conn_pump(s, k);
	}
}

static void conn_fail(struct splice *s, struct conn *k)
{
	s->stats.refused++;
	conn_end(s, k, true);
}

/*
 * Both are connected. Events of before have been let pass. If we were killed, it should not look as if one had said all that he had to
 * say: until both have, close() is a reset.
 */
static void conn_join(struct splice *s, struct conn *k)
{
	k->state = STATE_JOINED;
	for (unsigned i = 0; i < 2; i++) {
		k->dir[i].in_ready = k->dir[i].out_ready = true;
		if (!is_unix(k, i))
			(void)!sock_linger_reset(k->fd[i]);
	}
	conn_pump(s, k);
}

static void on_connected(struct splice *s, struct conn *k)
{
	int err = sock_error(k->fd[1]);

	if (err) {
		log_limited(LOG_LVL_DEBUG, "Splice: connection not passed on: %s", strerror(err));
		conn_fail(s, k);
		return;
	}
	conn_join(s, k);
}

/*
 * Whoever resets the connection before there is another end must not be seen there. One who has said all may wait for an answer; or, on a
 * UNIX socket, which has no reset, for none.
 */
static void on_event_connecting(struct splice *s, struct conn *k, unsigned side, uint32_t events)
{
	uint32_t reset = is_unix(k, 0) ? 0 : EPOLLERR | EPOLLHUP;

	/* This is told once, and splice(2) would wait for ever before it. */
	if (events & EPOLLPRI)
		k->dir[side].urgent = true;
	if (side == 0 && events & reset)
		conn_fail(s, k);
	else if (side == 1 && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		on_connected(s, k);
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct splice *s = ctx;
	unsigned side = ref.index % 2;
	struct conn *k;

	if (ref.index / 2 >= s->fresh)
		return;
	k = &s->conn[ref.index / 2];
	if (k->gen != ref.gen || k->state == STATE_FREE)
		return;
	if (k->state == STATE_CONNECTING) {
		on_event_connecting(s, k, side, events);
		return;
	}
	if (events & EPOLLERR)
		k->err = true;
	splice_dir_on_in(&k->dir[side], events);
	splice_dir_on_out(&k->dir[!side], events);
	conn_pump(s, k);
}

/* The sender has chosen already when its data goes out. */
static void sock_prepare(int fd)
{
	int err = sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);

	if (!err)
		err = sock_set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (err)
		log_limited(LOG_LVL_DEBUG, "Splice: socket option not set: %s", strerror(-err));
}

static int conn_watch(struct splice *s, struct conn *k, unsigned side)
{
	return loop_add(s->loop, k->fd[side], ref_of(s, k, side), is_unix(k, side) ? EVENTS_UNIX : EVENTS);
}

static struct conn *conn_new(struct splice *s, unsigned way, int from, int to)
{
	struct conn *k = slot_take(s);

	if (!k) {
		sock_abort(from);
		sock_abort(to);
		return NULL;
	}
	s->stats.opened++;
	k->way = way & SPLICE_OUT;
	k->unix_ends = way >> 1 & 3;
	k->fd[0] = from;
	k->fd[1] = to;
	for (unsigned i = 0; i < 2; i++) {
		if (!is_unix(k, i))
			sock_prepare(k->fd[i]);
	}
	return k;
}

int splice_join(struct splice *s, unsigned way, int from, int to)
{
	struct conn *k = conn_new(s, way, from, to);
	int err;

	if (!k)
		return -ENOSPC;
	err = loop_mod(s->loop, to, ref_of(s, k, 1), EVENTS);
	if (!err)
		err = conn_watch(s, k, 0);
	if (err)
		conn_end(s, k, true);
	else
		conn_join(s, k);
	return err;
}

int splice_open(struct splice *s, unsigned way, int from, int to, const struct ep *dst)
{
	struct conn *k = conn_new(s, way, from, to);
	int err;

	if (!k)
		return -ENOSPC;
	err = is_unix(k, 1) ? 0 : sock_connect(to, addr_family(&dst->addr), dst, 0);
	if (!err || err == -EINPROGRESS)
		err = conn_watch(s, k, 1);
	if (!err)
		err = conn_watch(s, k, 0);
	if (err)
		conn_fail(s, k);
	return err;
}

uint32_t splice_max(const struct splice *s)
{
	return s->max;
}

uint32_t splice_room(const struct splice *s)
{
	return s->max - s->stats.now;
}

static const char *state_name(const struct conn *k)
{
	if (k->state == STATE_CONNECTING)
		return "connecting";
	return k->dir[0].eof || k->dir[1].eof ? "closing" : "established";
}

bool splice_next(const struct splice *s, uint32_t *slot, uint32_t end, struct splice_show *ret_show)
{
	for (; *slot < MIN(end, s->fresh); ++*slot) {
		const struct conn *k = &s->conn[*slot];

		if (k->state == STATE_FREE)
			continue;
		*ret_show = (struct splice_show){
			.state = state_name(k),
			.way = k->way,
			.born_ns = k->born_ns,
			.bytes = { k->moved[0], k->moved[1] },
			.fd = { k->fd[0], k->fd[1] },
		};
		return true;
	}
	return false;
}

const struct splice_stats *splice_stats(const struct splice *s)
{
	return &s->stats;
}

struct splice *splice_new(const struct splice_conf *c)
{
	struct splice *s = calloc(1, sizeof(*s));
	void *p;

	if (!s)
		return NULL;
	p = mmap(NULL, c->max * sizeof(*s->conn), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		free(s);
		return NULL;
	}
	s->conn = p;
	s->max = c->max;
	s->free = NO_SLOT;
	s->loop = c->loop;
	s->owner = loop_owner(c->loop, on_event, s);
	list_init(&s->again);
	timer_init(&s->turn, on_turn);
	pipe_pool_init(&s->pipes, c->pipes_max, c->pipes_big);
	return s;
}

void splice_free(struct splice *s)
{
	for (uint32_t i = 0; i < s->fresh; i++) {
		if (s->conn[i].state != STATE_FREE)
			conn_end(s, &s->conn[i], true);
	}
	timer_cancel(&s->loop->timers, &s->turn);
	pipe_pool_fini(&s->pipes);
	munmap(s->conn, s->max * sizeof(*s->conn));
	free(s);
}
