/* SPDX-License-Identifier: MIT */
/*
 * The server's half of the control socket, with real sockets: clients that come and go, say what they like in pieces, pass descriptors,
 * and read their replies or don't. Whatever a client gets ends in a newline and is JSON. In the end all descriptors are closed again,
 * and the arena is empty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "ctl/arena.h"
#include "ctl/line.h"
#include "ctl/server.h"
#include "os/fdpass.h"
#include "fds.h"

#define PEERS 3u
#define LATER 4u
#define OPS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
	struct loop loop;
	struct timer nowait;
	struct ctl_server *s;
	struct sockaddr_un name;
	socklen_t name_len;
	int peer[PEERS];
	bool piece[PEERS]; /* the last of what it read was no whole line */
	struct ctl_who later[LATER]; /* who waits for an answer */
	unsigned n_later;
	bool again;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void nothing(struct timer *t, uint64_t now_ns)
{
}

static enum ctl_result on_request(void *ctx, struct ctl_call *c)
{
	struct fuzz *z = ctx;

	if (!strcmp(c->name, "e")) {
		json_object_set(c->reply, "what", c->args);
	} else if (!strcmp(c->name, "s")) {
		c->subscribe = true;
	} else if (!strcmp(c->name, "f")) {
		must(c->fd < 0 || !close(c->fd));
		c->fd = -1;
	} else if (!strcmp(c->name, "l") && z->n_later < LATER) {
		z->later[z->n_later++] = c->who;
		return CTL_LATER;
	} else if (!strcmp(c->name, "a") && z->again) {
		return CTL_AGAIN;
	} else if (!strcmp(c->name, "b")) {
		json_t *a = json_array();

		json_object_set_new(c->reply, "text", a);
		for (json_int_t i = MIN(json_integer_value(json_object_get(c->args, "n")), (json_int_t)50000); i > 0; i--)
			json_array_append_new(a, json_integer(1000000 + i));
	} else {
		return ctl_fail(c, "unknown-request", "No such request: %s", c->name);
	}
	return CTL_REPLY;
}

static void turn(struct fuzz *z)
{
	timer_set(&z->loop.timers, &z->nowait, 0);
	must(!loop_turn(&z->loop));
	must(ctl_clients(z->s) <= CTL_CLIENTS);
}

static void op_connect(struct fuzz *z, struct rd *r)
{
	unsigned i = rd_u8(r) % PEERS;

	if (z->peer[i] >= 0)
		close(z->peer[i]);
	z->piece[i] = false;
	z->peer[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	must(z->peer[i] >= 0);
	if (!connect(z->peer[i], (struct sockaddr *)&z->name, z->name_len))
		return;
	must(errno == EAGAIN); /* nobody has been let in for a while */
	close(z->peer[i]);
	z->peer[i] = -1;
}

static void op_say(struct fuzz *z, struct rd *r)
{
	unsigned i = rd_u8(r) % PEERS, how = rd_u8(r);
	size_t n = MIN((size_t)rd_u8(r), rd_left(r));
	const uint8_t *p = rd_bytes(r, n);

	/* The last byte takes descriptors along. */
	if (z->peer[i] < 0 || !n)
		return;
	(void)!fdpass_send(z->peer[i], p, n, (int[]){ 0, 0, 0 }, how % 4, MSG_DONTWAIT);
	for (unsigned k = how >> 4; k; k--)
		(void)!send(z->peer[i], p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A line longer than any may be. */
static void op_flood(struct fuzz *z, struct rd *r)
{
	static const char blank[] = "                                                                ";
	unsigned i = rd_u8(r) % PEERS;

	for (unsigned k = 0; z->peer[i] >= 0 && k <= CTL_LINE_MAX / (sizeof(blank) - 1); k++) {
		if (send(z->peer[i], blank, sizeof(blank) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			turn(z);
	}
}

static void lines_check(struct fuzz *z, unsigned i, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		if (nl && !z->piece[i])
			must(*text == '{' && nl[-1] == '}');
		z->piece[i] = !nl;
		text = nl ? nl + 1 : end;
	}
}

static void op_read(struct fuzz *z, struct rd *r)
{
	unsigned i = rd_u8(r) % PEERS;
	static char buf[65536];
	ssize_t n = z->peer[i] < 0 ? 0 : recv(z->peer[i], buf, 1 + rd_u8(r) * 257u, MSG_DONTWAIT);

	if (n > 0)
		lines_check(z, i, buf, (size_t)n);
}

static void op_leave(struct fuzz *z, struct rd *r)
{
	uint8_t how = rd_u8(r);
	unsigned i = how % PEERS;

	if (z->peer[i] < 0)
		return;
	if (how & 0x80) {
		(void)!shutdown(z->peer[i], how & 0x40 ? SHUT_RDWR : SHUT_WR);
	} else {
		close(z->peer[i]);
		z->peer[i] = -1;
	}
}

static void op_answer(struct fuzz *z, struct rd *r)
{
	uint8_t how = rd_u8(r);

	if (z->n_later) {
		struct ctl_who who = z->later[--z->n_later];

		ctl_answer(z->s, &who, how & 1 ? "busy" : NULL, how & 1 ? "Not now" : NULL, how & 2 ? json_object() : NULL);
	}
	z->again = how & 4;
	if (how & 8)
		ctl_retry(z->s);
	if (how & 16)
		ctl_event(z->s, "up", how & 32 ? json_object() : NULL);
}

static void op_turn(struct fuzz *z, struct rd *r)
{
	turn(z);
}

static void start(struct fuzz *z)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct ctl_server_conf c = { .listen_fd = fd, .file_fd = -1, .fn = on_request, .ctx = z };

	for (unsigned i = 0; i < PEERS; i++)
		z->peer[i] = -1;
	/* A name that the kernel chooses, in no file system (unix(7)). */
	z->name.sun_family = AF_UNIX;
	z->name_len = sizeof(z->name);
	timer_init(&z->nowait, nothing);
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&z->name, sizeof(z->name.sun_family)));
	must(!getsockname(fd, (struct sockaddr *)&z->name, &z->name_len) && !listen(fd, 16));
	must(!loop_init(&z->loop) && !ctl_server_new(&z->loop, &c, &z->s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const ops[])(struct fuzz *, struct rd *) = {
		op_connect, op_say, op_turn, op_read, op_leave, op_answer, op_say, op_flood,
	};
	static bool open;
	struct rd r = rd_init(data, len);
	unsigned before;
	struct fuzz *z = calloc(1, sizeof(*z));

	must(z && (open || !ctl_arena_open()));
	open = true;
	log_set_sink(sink, NULL);
	before = fds_open();
	start(z);
	for (unsigned i = 0; i < OPS_MAX && rd_left(&r); i++) {
		uint8_t op = rd_u8(&r);

		ops[op % ARRAY_SIZE(ops)](z, &r);
		if (op & 0x80)
			turn(z);
	}
	turn(z);
	ctl_server_free(z->s);
	timer_cancel(&z->loop.timers, &z->nowait);
	loop_fini(&z->loop);
	for (unsigned i = 0; i < PEERS; i++) {
		if (z->peer[i] >= 0)
			close(z->peer[i]);
	}
	free(z);
	must(fds_open() == before && !ctl_arena_live());
	return 0;
}
