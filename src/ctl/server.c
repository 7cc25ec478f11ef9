/* SPDX-License-Identifier: MIT */
#include "ctl/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "ctl/arena.h"
#include "ctl/door.h"
#include "ctl/line.h"
#include "os/acceptor.h"
#include "os/fdpass.h"
#include "os/sock.h"

#define ACCEPT_BATCH 8
#define ON_LISTEN 0 /* ref.index; clients follow */

struct client {
	int fd; /* -1: nobody */
	uint32_t gen;
	int passed; /* descriptor that came; -1: none */
	uint64_t heard_ns;
	bool subscribed;
	bool eof; /* nothing more comes from it */
	bool waiting; /* for an answer, or for its request to come again */
	bool again; /* of these, the latter */
	bool ending; /* closed as soon as it has what is in out */
	uint64_t lost; /* events that found no room */
	char id[CTL_ID_MAX]; /* of the request under way; empty: none */
	uint32_t in_len, out_pos, out_len;
	uint32_t watched; /* events that the loop was asked for */
	uint8_t in[CTL_LINE_MAX];
	uint8_t out[CTL_OUT_MAX];
};

struct ctl_server {
	struct loop *loop;
	unsigned owner;
	struct acceptor acceptor;
	struct ctl_door door;
	ctl_request_fn *fn;
	void *ctx;
	struct timer more; /* requests that have arrived and wait for their turn */
	struct client client[CTL_CLIENTS];
};

/* --- messages out --- */

static void client_close(struct ctl_server *s, struct client *c)
{
	if (c->fd < 0)
		return;
	loop_del(s->loop, c->fd);
	close(c->fd);
	sock_close(c->passed);
	c->fd = c->passed = -1;
	c->gen = (c->gen + 1) & 0xffffffu;
}

/* What can be sent is sent. The client may be gone afterwards. */
static void client_flush(struct ctl_server *s, struct client *c)
{
	while (c->fd >= 0 && c->out_pos < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			client_close(s, c);
		else
			c->out_pos += (uint32_t)n;
	}
	c->out_pos = c->out_len = 0;
}

/* Puts a message into out: false if it doesn't fit. */
static bool client_put(struct client *c, const json_t *msg)
{
	size_t room = CTL_OUT_MAX - c->out_len, n;

	n = msg ? json_dumpb(msg, (char *)c->out + c->out_len, room, JSON_COMPACT) : 0;
	if (!n || n >= room)
		return false;
	c->out[c->out_len + n] = '\n';
	c->out_len += (uint32_t)n + 1;
	return true;
}

/* {"id": ..., "ok": ...} and what else there is; takes more. NULL: no memory. */
static json_t *reply_new(const struct client *c, const char *error, const char *message, json_t *more)
{
	json_t *r = json_object();
	int err = !r;

	if (c->id[0])
		err |= json_object_set_new(r, "id", json_loads(c->id, JSON_DECODE_ANY, NULL));
	err |= json_object_set_new(r, "ok", json_boolean(!error));
	if (error) {
		err |= json_object_set_new(r, "error", json_string(error));
		err |= json_object_set_new(r, "message", json_string(message));
	}
	if (more)
		err |= json_object_update(r, more);
	json_decref(more);
	if (!err)
		return r;
	json_decref(r);
	return NULL;
}

static void client_reply(struct ctl_server *s, struct client *c, const char *error, const char *message, json_t *more)
{
	json_t *r = reply_new(c, error, message, more);
	bool done = client_put(c, r);

	json_decref(r);
	if (!done) {
		r = reply_new(c, "too-big", "The reply is too long, or needs too much memory", NULL);
		done = client_put(c, r);
		json_decref(r);
	}
	/* It would wait for its reply for ever. */
	if (!done)
		c->ending = true;
	c->id[0] = '\0';
	sock_close(c->passed);
	c->passed = -1;
	client_flush(s, c);
}

/* --- events --- */

static void event_put(struct ctl_server *s, struct client *c, json_t *msg)
{
	bool ok;

	if (c->lost)
		(void)json_object_set_new(msg, "lost", json_integer((json_int_t)c->lost));
	ok = client_put(c, msg);
	(void)json_object_del(msg, "lost");
	c->lost = ok ? 0 : c->lost + 1;
	client_flush(s, c);
}

static json_t *event_new(const char *name, json_t *more)
{
	json_t *msg = json_object();

	(void)json_object_set_new(msg, "event", json_string(name));
	if (more)
		(void)json_object_update(msg, more);
	json_decref(more);
	return msg;
}

/* --- requests --- */

enum ctl_result ctl_fail(struct ctl_call *c, const char *error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->message, sizeof(c->message), fmt, ap);
	va_end(ap);
	utf8_trim(c->message);
	c->error = error;
	return CTL_REPLY;
}

/* Keeps the id as text: what jansson makes doesn't live until the reply is due. False: it is not one. */
static bool client_id(struct client *c, const json_t *req)
{
	const json_t *id = json_object_get(req, "id");
	size_t n;

	c->id[0] = '\0';
	if (!id)
		return true;
	if (!json_is_number(id) && !json_is_string(id))
		return false;
	n = json_dumpb(id, c->id, sizeof(c->id), JSON_ENCODE_ANY);
	if (!n || n >= sizeof(c->id)) {
		c->id[0] = '\0';
		return false;
	}
	c->id[n] = '\0';
	return true;
}

static enum ctl_result request_run(struct ctl_server *s, struct client *c, json_t *req)
{
	struct ctl_call call = {
		.name = json_string_value(json_object_get(req, "do")),
		.args = req,
		.fd = c->passed,
		.who = { (uint32_t)(c - s->client), c->gen },
	};
	enum ctl_result r;

	if (!client_id(c, req)) {
		client_reply(s, c, "bad-argument", "id has to be a short number or string", NULL);
		return CTL_REPLY;
	}
	if (!call.name) {
		client_reply(s, c, "bad-request", "The request has no \"do\"", NULL);
		return CTL_REPLY;
	}
	call.reply = json_object();
	if (!call.reply)
		ctl_fail(&call, "too-big", "The request needs too much memory");
	r = call.reply ? s->fn(s->ctx, &call) : CTL_REPLY;
	c->passed = call.fd;
	if (r != CTL_REPLY) {
		json_decref(call.reply);
		return r;
	}
	client_reply(s, c, call.error, call.message, call.reply);
	if (call.subscribe && c->fd >= 0) {
		json_t *ready = event_new("ready", NULL);

		c->subscribed = true;
		event_put(s, c, ready);
		json_decref(ready);
	}
	return r;
}

/* A line without its newline. */
static enum ctl_result client_line(struct ctl_server *s, struct client *c, const char *line, size_t len)
{
	enum ctl_result r = CTL_REPLY;
	const char *why;
	json_t *req;

	/* jansson may lose a piece when there is no memory: nothing is held from one request to the next, so that ends here. */
	ctl_arena_reset();
	req = ctl_line_parse(line, len, &why);
	if (req)
		r = request_run(s, c, req);
	else
		client_reply(s, c, why ? "bad-request" : "too-big", why ? why : "The request needs too much memory", NULL);
	json_decref(req);
	return r;
}

static bool client_ready(const struct client *c)
{
	return c->fd >= 0 && !c->waiting && !c->ending && c->out_pos == c->out_len;
}

/* Nothing of it is left to be done. */
static bool client_over(const struct client *c)
{
	return c->fd >= 0 && c->out_pos == c->out_len && (c->ending || (c->eof && !c->waiting));
}

static void client_watch(struct ctl_server *s, struct client *c)
{
	uint32_t want = 0;

	if (c->fd < 0)
		return;
	if (c->out_pos < c->out_len)
		want |= EPOLLOUT;
	if (client_ready(c) && !c->eof && c->in_len < CTL_LINE_MAX)
		want |= EPOLLIN;
	if (want == c->watched)
		return;
	c->watched = want;
	if (loop_mod(s->loop, c->fd, ref_init(s->owner, (uint32_t)(c - s->client) + 1, c->gen), want))
		client_close(s, c);
}

/* Takes the next line out of in. False: there is none. */
static bool client_next(struct ctl_server *s, struct client *c)
{
	const uint8_t *end = memchr(c->in, '\n', c->in_len);
	size_t len = end ? (size_t)(end - c->in) : c->in_len;
	enum ctl_result r;

	if (!end && c->in_len == CTL_LINE_MAX) {
		client_reply(s, c, "too-long", "The request is too long", NULL);
		c->in_len = 0;
		c->ending = true;
	}
	if (!end)
		return false;
	r = client_line(s, c, (const char *)c->in, len);
	if (c->fd < 0)
		return false;
	c->waiting = r != CTL_REPLY;
	c->again = r == CTL_AGAIN;
	if (r == CTL_AGAIN)
		return false;
	c->in_len -= (uint32_t)len + 1;
	memmove(c->in, c->in + len + 1, c->in_len);
	return true;
}

static void client_work(struct ctl_server *s, struct client *c)
{
	for (unsigned i = 0; i < CTL_TURN && client_ready(c); i++) {
		if (!client_next(s, c))
			break;
	}
	if (client_over(c) && (c->ending || !memchr(c->in, '\n', c->in_len)))
		client_close(s, c);
	client_watch(s, c);
	/* What has been read already makes no event. */
	if (client_ready(c) && memchr(c->in, '\n', c->in_len))
		timer_set(&s->loop->timers, &s->more, 0);
}

static void on_more(struct timer *t, uint64_t now_ns)
{
	struct ctl_server *s = container_of(t, struct ctl_server, more);

	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		if (client_ready(&s->client[i]))
			client_work(s, &s->client[i]);
	}
}

/* --- clients --- */

static void client_receive(struct ctl_server *s, struct client *c)
{
	int fds[FDPASS_MAX];
	unsigned n_fds = 0;
	ssize_t n = fdpass_recv(c->fd, c->in + c->in_len, CTL_LINE_MAX - c->in_len, MSG_DONTWAIT, fds, &n_fds);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < 0) {
		client_close(s, c);
		return;
	}
	c->heard_ns = s->loop->now_ns;
	c->eof = !n;
	c->in_len += (uint32_t)n;
	/* The last one counts: nobody is to fill our table with them. */
	for (unsigned i = 0; i < n_fds; i++) {
		sock_close(c->passed);
		c->passed = fds[i];
	}
}

static void on_client(struct ctl_server *s, struct client *c, uint32_t events)
{
	if (events & EPOLLOUT)
		client_flush(s, c);
	if (events & EPOLLIN && client_ready(c))
		client_receive(s, c);
	client_work(s, c);
	/* It has closed its end: nobody reads what we still have to say. */
	if (c->fd >= 0 && events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN))
		client_close(s, c);
}

static bool may_come(const struct ctl_server *s, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	if (ctl_door_lets(&s->door, cred.uid))
		return true;
	log_limited(LOG_LVL_WARN, "Control socket: refused user %u, process %i", (unsigned)cred.uid, (int)cred.pid);
	return false;
}

/* A free place; or that of whoever has been silent for longest, listeners to events last. */
static struct client *client_place(struct ctl_server *s)
{
	struct client *best = &s->client[0];

	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0)
			return c;
		if (c->subscribed != best->subscribed ? best->subscribed : c->heard_ns < best->heard_ns)
			best = c;
	}
	log_limited(LOG_LVL_DEBUG, "Control socket: a client is disconnected for another one");
	client_close(s, best);
	return best;
}

static void client_open(struct ctl_server *s, int fd)
{
	struct client *c = client_place(s);
	uint32_t gen = c->gen;

	memset(c, 0, offsetof(struct client, in));
	c->fd = fd;
	c->gen = gen;
	c->passed = -1;
	c->heard_ns = s->loop->now_ns;
	c->watched = EPOLLIN;
	if (loop_add(s->loop, fd, ref_init(s->owner, (uint32_t)(c - s->client) + 1, gen), EPOLLIN)) {
		close(fd);
		c->fd = -1;
	}
}

static void on_listen(struct ctl_server *s)
{
	struct ep nobody;
	int fd;

	for (unsigned i = 0; i < ACCEPT_BATCH && !acceptor_take(&s->acceptor, &nobody, &fd); i++) {
		if (may_come(s, fd))
			client_open(s, fd);
		else
			close(fd);
	}
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct ctl_server *s = ctx;
	struct client *c;

	if (ref.index == ON_LISTEN) {
		on_listen(s);
		return;
	}
	c = &s->client[ref.index - 1];
	if (c->fd >= 0 && c->gen == ref.gen)
		on_client(s, c, events);
}

/* --- for the caller --- */

static struct client *client_of(struct ctl_server *s, const struct ctl_who *who)
{
	struct client *c = &s->client[who->index];

	return c->fd >= 0 && c->gen == who->gen ? c : NULL;
}

void ctl_answer(struct ctl_server *s, const struct ctl_who *who, const char *error, const char *message, json_t *reply)
{
	struct client *c = client_of(s, who);

	if (!c) {
		json_decref(reply);
		return;
	}
	c->waiting = false;
	client_reply(s, c, error, message, reply);
	client_work(s, c);
}

void ctl_retry(struct ctl_server *s)
{
	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0 || !c->again)
			continue;
		c->again = c->waiting = false;
		timer_set(&s->loop->timers, &s->more, 0);
	}
}

void ctl_event(struct ctl_server *s, const char *name, json_t *more)
{
	json_t *msg;

	if (!s) {
		json_decref(more);
		return;
	}
	msg = event_new(name, more);
	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0 || !c->subscribed)
			continue;
		event_put(s, c, msg);
		client_watch(s, c);
	}
	json_decref(msg);
}

unsigned ctl_clients(const struct ctl_server *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CTL_CLIENTS; i++)
		n += s->client[i].fd >= 0;
	return n;
}

int ctl_server_new(struct loop *loop, const struct ctl_server_conf *c, struct ctl_server **ret_s)
{
	struct ctl_server *s;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s == MAP_FAILED)
		return -ENOMEM;
	s->loop = loop;
	s->fn = c->fn;
	s->ctx = c->ctx;
	ctl_door_init(&s->door, c->file_fd);
	timer_init(&s->more, on_more);
	for (unsigned i = 0; i < CTL_CLIENTS; i++)
		s->client[i].fd = s->client[i].passed = -1;
	s->owner = loop_owner(loop, on_event, s);
	acceptor_init(&s->acceptor, loop, c->listen_fd, "a client of the control socket");
	acceptor_start(&s->acceptor, ref_init(s->owner, ON_LISTEN, 0));
	*ret_s = s;
	return 0;
}

void ctl_server_free(struct ctl_server *s)
{
	if (!s)
		return;
	timer_cancel(&s->loop->timers, &s->more);
	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		client_flush(s, &s->client[i]);
		client_close(s, &s->client[i]);
	}
	acceptor_fini(&s->acceptor);
	ctl_door_fini(&s->door);
	munmap(s, sizeof(*s));
}
