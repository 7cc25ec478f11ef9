/* SPDX-License-Identifier: MIT */
/* A server with a real loop and real sockets; the clients are in the same process, so that turns of the loop can be counted. */
#include "ctl/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "ctl/arena.h"
#include "os/fdpass.h"

static struct loop loop;
static struct ctl_server *server;
static struct sockaddr_un name;
static socklen_t name_len;
static struct ctl_who later;
static unsigned called;
static bool again;

static enum ctl_result on_request(void *ctx, struct ctl_call *c)
{
	called++;
	if (!strcmp(c->name, "echo"))
		json_object_set(c->reply, "what", json_object_get(c->args, "what"));
	else if (!strcmp(c->name, "long"))
		json_object_set_new(c->reply, "text", json_array());
	else if (!strcmp(c->name, "subscribe"))
		c->subscribe = true;
	else if (!strcmp(c->name, "fd"))
		json_object_set_new(c->reply, "fd", json_boolean(c->fd >= 0));
	else if (!strcmp(c->name, "take"))
		c->fd = close(c->fd) ? c->fd : -1;
	else if (!strcmp(c->name, "later")) {
		later = c->who;
		return CTL_LATER;
	} else if (!strcmp(c->name, "again") && again)
		return CTL_AGAIN;
	else if (strcmp(c->name, "again"))
		return ctl_fail(c, "unknown-request", "No such request: %s", c->name);
	if (!strcmp(c->name, "long")) {
		for (json_int_t i = 0; i < json_integer_value(json_object_get(c->args, "n")); i++)
			json_array_append_new(json_object_get(c->reply, "text"), json_integer(1000000));
	}
	return CTL_REPLY;
}

static int setup(void **state)
{
	struct ctl_server_conf c = { .file_fd = -1, .fn = on_request };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* A name that the kernel chooses, in no file system (unix(7)). */
	name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	name_len = sizeof(name);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name.sun_family)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &name_len), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(loop_init(&loop), 0);
	c.listen_fd = fd;
	assert_int_equal(ctl_server_new(&loop, &c, &server), 0);
	called = 0;
	again = false;
	return 0;
}

static int teardown(void **state)
{
	ctl_server_free(server);
	loop_fini(&loop);
	assert_int_equal(ctl_arena_live(), 0);
	return 0;
}

/* Until nothing more happens. */
static void turns(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct epoll_event ev;

		if (!epoll_wait(loop.epfd, &ev, 1, 0) && timers_next(&loop.timers, loop.now_ns))
			return;
		assert_int_equal(loop_turn(&loop), 0);
	}
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&name, name_len), 0);
	turns(2);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What has come; "<end>" at the end. */
static const char *heard(int fd)
{
	static char buf[CTL_OUT_MAX];
	ssize_t n;

	turns(100);
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return !n || errno == ECONNRESET ? "<end>" : "";
	buf[n] = '\0';
	return buf;
}

static void test_requests(void **state)
{
	static const struct {
		const char *ask, *reply;
	} t[] = {
		{ "{\"do\":\"echo\",\"what\":[1,\"a\"]}\n", "{\"ok\":true,\"what\":[1,\"a\"]}\n" },
		{ "{\"do\":\"echo\",\"what\":2,\"id\":7}\n", "{\"id\":7,\"ok\":true,\"what\":2}\n" },
		{ "{\"do\":\"echo\",\"id\":\"x\\n\"}\r\n", "{\"id\":\"x\\n\",\"ok\":true}\n" },
		{ "{\"do\":\"no\",\"id\":1.5}\n",
		  "{\"id\":1.5,\"ok\":false,\"error\":\"unknown-request\",\"message\":\"No such request: no\"}\n" },
		{ "{\"do\":7,\"id\":3}\n",
		  "{\"id\":3,\"ok\":false,\"error\":\"bad-request\",\"message\":\"The request has no \\\"do\\\"\"}\n" },
		{ "{\"id\":[]}\n",
		  "{\"ok\":false,\"error\":\"bad-argument\",\"message\":\"id has to be a short number or string\"}\n" },
		{ "\n", "{\"ok\":false,\"error\":\"bad-request\",\"message\":\"The request is not JSON\"}\n" },
		{ "GET / HTTP/1.1\n", "{\"ok\":false,\"error\":\"bad-request\",\"message\":\"The request is not JSON\"}\n" },
	};
	int fd = client();

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		say(fd, t[i].ask);
		assert_string_equal(heard(fd), t[i].reply);
	}
	assert_int_equal(ctl_clients(server), 1);
	close(fd);
	turns(5);
	assert_int_equal(ctl_clients(server), 0);
}

/* What a message has no room for is left out by whole characters: JSON has no others. */
static void test_message_cut(void **state)
{
	static const char begin[] = "{\"ok\":false,\"error\":\"unknown-request\",\"message\":\"No such request: ";

	for (unsigned odd = 0; odd < 2; odd++) {
		char ask[1024] = "{\"do\":\"a";
		int fd = client();
		const char *reply;
		size_t len;

		ask[7] = odd ? 'a' : '\0';
		for (unsigned i = 0; i < 400; i++)
			strcat(ask, "\xc3\xa4");
		strcat(ask, "\"}\n");
		say(fd, ask);
		reply = heard(fd);
		len = strlen(reply);
		assert_memory_equal(reply, begin, sizeof(begin) - 1);
		assert_string_equal(reply + len - 5, "\xc3\xa4\"}\n");
		assert_in_range(len, 500, sizeof(begin) + 512);
		close(fd);
	}
}

/* Whoever finds no descriptor waits in the queue, and we don't ask for them all the time. */
static void test_shortage(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), next = dup(fd);
	struct rlimit was, now;
	uint64_t before;

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = (struct rlimit){ (rlim_t)next, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&name, name_len), 0);
	before = loop.turns;
	turns(100);
	assert_in_range(loop.turns - before, 1, 3);
	assert_int_equal(ctl_clients(server), 0);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	say(fd, "{\"do\":\"echo\"}\n");
	for (unsigned i = 0; i < 100 && !ctl_clients(server); i++)
		assert_int_equal(loop_turn(&loop), 0);
	assert_string_equal(heard(fd), "{\"ok\":true}\n");
	close(fd);
}

/* Pieces, several in one, and what stands behind the last newline at the end. */
static void test_pieces(void **state)
{
	int fd = client();

	for (const char *p = "{\"do\":\"echo\"}\n"; *p; p++) {
		assert_string_equal(heard(fd), "");
		say(fd, (char[]){ *p, '\0' });
	}
	assert_string_equal(heard(fd), "{\"ok\":true}\n");
	say(fd, "{\"do\":\"echo\",\"id\":1}\n{\"do\":\"echo\",\"id\":2}\n{\"do\":\"echo\",");
	assert_string_equal(heard(fd), "{\"id\":1,\"ok\":true}\n{\"id\":2,\"ok\":true}\n");
	shutdown(fd, SHUT_WR);
	assert_string_equal(heard(fd), "<end>");
	assert_int_equal(called, 3);
	close(fd);
}

/* Whoever says no more than that gets all replies. */
static void test_half_closed(void **state)
{
	int fd = client();

	for (unsigned i = 0; i < 10; i++)
		say(fd, "{\"do\":\"echo\"}\n");
	shutdown(fd, SHUT_WR);
	turns(100);
	assert_int_equal(called, 10);
	assert_int_equal(strlen(heard(fd)), 10 * strlen("{\"ok\":true}\n"));
	assert_string_equal(heard(fd), "<end>");
	close(fd);
	assert_int_equal(ctl_clients(server), 0);
}

/* No more than a share of many requests in one turn. */
static void test_share(void **state)
{
	int fd = client();

	for (unsigned i = 0; i < 50; i++)
		say(fd, "{\"do\":\"echo\"}\n");
	for (unsigned i = 1; i <= 12; i++) {
		assert_int_equal(loop_turn(&loop), 0);
		assert_in_range(called, 1, 2 * i * CTL_TURN);
	}
	turns(100);
	assert_int_equal(called, 50);
	close(fd);
}

static void test_too_long(void **state)
{
	char *text = malloc(CTL_LINE_MAX + 2);
	int fd = client();

	memset(text, ' ', CTL_LINE_MAX);
	text[CTL_LINE_MAX - 1] = '\n';
	text[CTL_LINE_MAX] = '\0';
	memcpy(text, "{\"do\":\"echo\"}", 13);
	say(fd, text);
	assert_string_equal(heard(fd), "{\"ok\":true}\n");
	text[CTL_LINE_MAX - 1] = ' ';
	say(fd, text);
	assert_string_equal(heard(fd), "{\"ok\":false,\"error\":\"too-long\",\"message\":\"The request is too long\"}\n");
	assert_string_equal(heard(fd), "<end>");
	close(fd);
	free(text);
}

static void test_too_big(void **state)
{
	int fd = client();

	say(fd, "{\"do\":\"long\",\"n\":40000,\"id\":1}\n");
	assert_string_equal(heard(fd), "{\"id\":1,\"ok\":false,\"error\":\"too-big\","
				       "\"message\":\"The reply is too long, or needs too much memory\"}\n");
	say(fd, "{\"do\":\"echo\"}\n");
	assert_string_equal(heard(fd), "{\"ok\":true}\n");
	close(fd);
}

/* Nothing more is taken from a client that doesn't read; all of it is done when it does. */
static void test_slow(void **state)
{
	static const char ask[] = "{\"do\":\"long\",\"n\":20000}\n";
	int fd = client(), small = 4096;
	size_t got = 0, one = strlen("{\"ok\":true,\"text\":[") + 20000 * 8 - 1 + strlen("]}\n");
	unsigned asked = 0;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (; asked < 1000 && send(fd, ask, sizeof(ask) - 1, 0) == (ssize_t)(sizeof(ask) - 1); asked++)
		turns(20);
	assert_in_range(asked, 2, 999);
	assert_in_range(called, 1, 5);
	/* It is as quiet as if there were nobody. */
	turns(1000);
	assert_in_range(loop.turns, 1, 20 * 1000 + 100);
	while (got < asked * one) {
		const char *text = heard(fd);

		assert_true(text[0] && text[0] != '<');
		got += strlen(text);
	}
	assert_int_equal(got, asked * one);
	assert_int_equal(called, asked);
	close(fd);
}

static void test_later(void **state)
{
	int fd = client();

	say(fd, "{\"do\":\"later\",\"id\":\"a\"}\n{\"do\":\"echo\",\"id\":\"b\"}\n");
	assert_string_equal(heard(fd), "");
	ctl_answer(server, &later, NULL, NULL, json_pack("{s:i}", "n", 5));
	assert_string_equal(heard(fd), "{\"id\":\"a\",\"ok\":true,\"n\":5}\n{\"id\":\"b\",\"ok\":true}\n");
	say(fd, "{\"do\":\"later\"}\n");
	assert_string_equal(heard(fd), "");
	ctl_answer(server, &later, "failed", "No", json_object());
	assert_string_equal(heard(fd), "{\"ok\":false,\"error\":\"failed\",\"message\":\"No\"}\n");

	/* Gone meanwhile, and its place is another one's. */
	say(fd, "{\"do\":\"later\"}\n");
	turns(10);
	close(fd);
	turns(10);
	assert_int_equal(ctl_clients(server), 0);
	fd = client();
	ctl_answer(server, &later, NULL, NULL, json_object());
	assert_string_equal(heard(fd), "");
	close(fd);
}

static void test_again(void **state)
{
	int fd = client();

	again = true;
	say(fd, "{\"do\":\"again\",\"id\":1}\n");
	assert_string_equal(heard(fd), "");
	ctl_retry(server);
	assert_string_equal(heard(fd), "");
	assert_int_equal(called, 2);
	again = false;
	ctl_retry(server);
	assert_string_equal(heard(fd), "{\"id\":1,\"ok\":true}\n");
	assert_int_equal(called, 3);
	close(fd);
}

static void test_events(void **state)
{
	int fd = client(), other = client();

	ctl_event(server, "early", NULL);
	say(fd, "{\"do\":\"subscribe\"}\n");
	assert_string_equal(heard(fd), "{\"ok\":true}\n{\"event\":\"ready\"}\n");
	ctl_event(server, "up", json_pack("{s:i}", "n", 1));
	assert_string_equal(heard(fd), "{\"event\":\"up\",\"n\":1}\n");
	assert_string_equal(heard(other), "");
	ctl_event(NULL, "up", NULL);
	close(fd);
	close(other);
}

/* Events for somebody who doesn't read are dropped at some time, and counted. */
static void test_events_lost(void **state)
{
	int fd = client();
	size_t got = 0, lost = 0, sent = 20000;

	say(fd, "{\"do\":\"subscribe\"}\n");
	heard(fd);
	for (size_t i = 0; i < sent; i++)
		ctl_event(server, "something", json_pack("{s:s}", "text", "a text that takes some room"));
	for (unsigned i = 0; i < 2; i++) {
		for (const char *text = heard(fd); text[0]; text = heard(fd)) {
			const char *p;

			for (p = text; (p = strstr(p, "\"event\"")); p++)
				got++;
			p = strstr(text, "\"lost\":");
			if (p)
				lost += strtoul(p + 7, NULL, 10);
		}
		if (!i)
			ctl_event(server, "last", NULL);
	}
	assert_in_range(lost, 1, sent - 1);
	assert_int_equal(got + lost, sent + 1);
	close(fd);
}

/* The last ones are heard; of the first, one that subscribed. */
static void test_many(void **state)
{
	int fd[100], first = client();

	say(first, "{\"do\":\"subscribe\"}\n");
	heard(first);
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = client();
		say(fd[i], "{\"do\":\"echo\"}\n");
		assert_string_equal(heard(fd[i]), "{\"ok\":true}\n");
	}
	assert_int_equal(ctl_clients(server), CTL_CLIENTS);
	assert_string_equal(heard(fd[0]), "<end>");
	ctl_event(server, "up", NULL);
	assert_string_equal(heard(first), "{\"event\":\"up\"}\n");
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	turns(200);
	assert_int_equal(ctl_clients(server), 1);
	close(first);
}

static void test_descriptors(void **state)
{
	static const char ask[] = "{\"do\":\"fd\"}\n", take[] = "{\"do\":\"take\"}\n";
	int before = dup(0), fd, many[] = { 0, 1, 2 };

	close(before);
	fd = client();
	say(fd, ask);
	assert_string_equal(heard(fd), "{\"ok\":true,\"fd\":false}\n");
	assert_int_equal(fdpass_send(fd, ask, sizeof(ask) - 1, many, 3, 0), 0);
	assert_string_equal(heard(fd), "{\"ok\":true,\"fd\":true}\n");
	say(fd, ask);
	assert_string_equal(heard(fd), "{\"ok\":true,\"fd\":false}\n");
	assert_int_equal(fdpass_send(fd, take, sizeof(take) - 1, many, 1, 0), 0);
	assert_string_equal(heard(fd), "{\"ok\":true}\n");
	/* Some that nobody asked for. */
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(fdpass_send(fd, " ", 1, many, 3, 0), 0);
		turns(5);
	}
	close(fd);
	turns(5);
	fd = dup(0);
	assert_int_equal(fd, before);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_message_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shortage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_share, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_big, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
	};

	if (ctl_arena_open())
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
