/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <errno.h>
#include <limits.h>

#include "base/log.h"

static unsigned warnings;
static char last_warning[LOG_LINE_MAX];

static void sink(void *ctx, enum log_level level, const char *line)
{
	warnings++;
	strncpy(last_warning, line, sizeof(last_warning) - 1);
}

static int setup(void **state)
{
	warnings = 0;
	log_set_sink(sink, NULL);
	return world_setup(state);
}

static int open_flow(struct world *w, uint16_t gport, uint16_t rport)
{
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, gport), dst = net_ep(&a->peer, rport);

	world_send(w, &src, &dst, "open", 4, NULL);
	return fake_os.n_sent ? fake_sent(fake_os.n_sent - 1)->fd : -1;
}

static void answer(struct world *w, int fd)
{
	struct ep from = fake_fd(fd)->peer;

	fake_dgram_push(fd, &from, NULL, "answer", 6);
	world_settle(w);
}

static void advance_s(struct world *w, uint64_t s)
{
	fake_loop_advance(&w->net.loop, s * NSEC_PER_SEC);
}

static void time_outs(void **state)
{
	struct world *w = *state;
	unsigned calls;

	/* One-way: 30 s after the last datagram. */
	open_flow(w, 1000, 6000);
	advance_s(w, 20);
	open_flow(w, 1000, 6000);
	advance_s(w, 28);
	assert_int_equal(fake_open_count(), 1);
	advance_s(w, 4);
	assert_int_equal(fake_open_count(), 0);

	/* Answered: 180 s. */
	answer(w, open_flow(w, 1000, 6000));
	advance_s(w, 178);
	assert_int_equal(fake_open_count(), 1);
	calls = fake_os.calls[FAKE_EPOLL_MOD] + fake_os.calls[FAKE_RECVMMSG] + fake_os.calls[FAKE_SETOPT];
	advance_s(w, 4);
	assert_int_equal(fake_open_count(), 0);
	assert_int_equal(fake_os.calls[FAKE_EPOLL_MOD] + fake_os.calls[FAKE_RECVMMSG] + fake_os.calls[FAKE_SETOPT], calls);

	/* Domain names: 17 s, answered or not. */
	answer(w, open_flow(w, 1000, 53));
	advance_s(w, 15);
	assert_int_equal(fake_open_count(), 1);
	advance_s(w, 4);
	assert_int_equal(fake_open_count(), 0);

	assert_int_equal(flow_count(w->net.flows), 0);
	assert_int_equal(w->net.loop.timers.armed, 0);
}

static int setup_shorter_answered(void **state)
{
	return world_setup_times(state, 20, 5);
}

static int setup_short(void **state)
{
	return world_setup_times(state, 7, 12);
}

static int setup_long(void **state)
{
	return world_setup_times(state, INT32_MAX, INT32_MAX);
}

/* The host's own time-outs (nf_conntrack_udp_timeout), which domain names never live longer than. */
static void short_time_outs(void **state)
{
	static const struct {
		uint16_t port;
		bool answered;
		unsigned s;
	} cases[] = { { 6000, false, 7 }, { 6000, true, 12 }, { 53, false, 7 }, { 53, true, 12 } };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = open_flow(w, 1000, cases[i].port);

		if (cases[i].answered)
			answer(w, fd);
		advance_s(w, cases[i].s - 1);
		assert_int_equal(fake_open_count(), 1);
		advance_s(w, 2);
		assert_int_equal(fake_open_count(), 0);
	}
}

/* Each of the two, where it is less than what domain names have. */
static void shorter_answered(void **state)
{
	struct world *w = *state;

	answer(w, open_flow(w, 1000, 53));
	advance_s(w, 4);
	assert_int_equal(fake_open_count(), 1);
	advance_s(w, 2);
	assert_int_equal(fake_open_count(), 0);
	open_flow(w, 1000, 53);
	advance_s(w, 16);
	assert_int_equal(fake_open_count(), 1);
	advance_s(w, 2);
	assert_int_equal(fake_open_count(), 0);
}

static void long_time_outs(void **state)
{
	struct world *w = *state;

	open_flow(w, 1000, 6000);
	answer(w, open_flow(w, 1001, 6000));
	answer(w, open_flow(w, 1002, 53));
	advance_s(w, 16);
	assert_int_equal(fake_open_count(), 3);
	advance_s(w, 3);
	assert_int_equal(fake_open_count(), 2);
	advance_s(w, 3600 * 24 * 30);
	assert_int_equal(fake_open_count(), 2);
}

/* That one flow lives for long does not make others live longer. */
static void short_beside_long(void **state)
{
	struct world *w = *state;

	answer(w, open_flow(w, 1000, 6000));
	open_flow(w, 1001, 6000);
	open_flow(w, 1002, 53);
	advance_s(w, 19);
	assert_int_equal(fake_open_count(), 2);
	advance_s(w, 13);
	assert_int_equal(fake_open_count(), 1);
	advance_s(w, 150);
	assert_int_equal(fake_open_count(), 0);
}

/* Each flow has its own time, whatever the order in which they were opened and used. */
static void many_time_outs(void **state)
{
	struct world *w = *state;
	int fd[8];

	for (unsigned i = 0; i < 8; i++) {
		fd[i] = open_flow(w, (uint16_t)(1000 + i), 6000);
		advance_s(w, 2);
	}
	answer(w, fd[3]);
	open_flow(w, 1000, 6000); /* the first was used again, at 16 s */
	advance_s(w, 17); /* 33 s: 1 is due at 32 s, 2 at 34 s */
	assert_int_equal(fake_open_count(), 7);
	assert_int_equal(fake_fd(fd[0])->kind, FAKE_DGRAM);
	advance_s(w, 14); /* 47 s: all but 0 (at 46 s) ... */
	assert_int_equal(fake_open_count(), 1); /* ... which has gone as well: 3 is left */
	assert_int_equal(fake_fd(fd[3])->kind, FAKE_DGRAM);
	advance_s(w, 150);
	assert_int_equal(fake_open_count(), 0);
}

/* Half of the table; the oldest without an answer gives way. */
static void half_of_the_table(void **state)
{
	struct world *w = *state;
	int fd[FLOWS];

	for (unsigned i = 0; i < FLOWS / 2; i++)
		fd[i] = open_flow(w, (uint16_t)(1000 + i), 6000);
	assert_int_equal(flow_count(w->net.flows), FLOWS / 2);
	answer(w, fd[0]);
	open_flow(w, 5000, 6000);
	assert_int_equal(flow_count(w->net.flows), FLOWS / 2);
	assert_int_equal(fake_os.n_sent, FLOWS / 2 + 1);
	/* The first was answered, so that the second had to go. */
	assert_true(fake_fd(fd[0])->connected);
	assert_int_equal(fake_fd(fd[0])->local.port, 1000);
	for (unsigned i = 0; i < fake_open_count(); i++)
		assert_int_not_equal(fake_fd_nth(i)->local.port, 1001);
	/* And if all were answered, the oldest of those. */
	for (unsigned i = 0; i < fake_open_count(); i++)
		answer(w, fake_fd_nth(i)->fd);
	open_flow(w, 5001, 6000);
	assert_int_equal(flow_count(w->net.flows), FLOWS / 2);
	assert_int_equal(fake_os.n_sent, FLOWS / 2 + 2);
}

static void table_full_of_others(void **state)
{
	struct world *w = *state;
	struct flow *f[FLOWS];

	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow_key key = flow_key_init(6, &net_families[0].guest, (uint16_t)i, &net_families[0].peer, 1);

		f[i] = flow_new(w->net.flows, &key);
		assert_non_null(f[i]);
	}
	open_flow(w, 1000, 6000);
	assert_int_equal(fake_os.n_sent, 0);
	assert_int_equal(fake_open_count(), 0);
	assert_int_equal(warnings, 1);
	for (unsigned i = 0; i < FLOWS; i++)
		flow_free(w->net.flows, f[i]);
}

static void no_descriptors(void **state)
{
	static const struct {
		enum fake_call call;
		int err;
	} cases[] = {
		{ FAKE_OPEN, EMFILE },   { FAKE_OPEN, ENFILE },    { FAKE_OPEN, ENOBUFS },
		{ FAKE_SETOPT, ENOMEM }, { FAKE_CONNECT, EAGAIN }, { FAKE_EPOLL_ADD, ENOSPC },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		warnings = 0;
		/* SO_REUSEADDR may fail: it is the error queue that is needed. */
		fake_fail(cases[i].call, -1, cases[i].err, cases[i].call == FAKE_SETOPT, 1);
		open_flow(w, (uint16_t)(1000 + i), 6000);
		assert_int_equal(fake_os.n_sent, 0);
		assert_int_equal(fake_open_count(), 0);
		assert_int_equal(flow_count(w->net.flows), 0);
		assert_int_equal(w->net.fl.frames, 0);
		log_set_now(i + 10);
		assert_in_range(warnings, 1, 1);
		assert_non_null(strstr(last_warning, strerror(cases[i].err)));
	}
	/* The warning is limited, not the attempts. */
	warnings = 0;
	fake_fail(FAKE_OPEN, -1, EMFILE, 0, 100);
	for (unsigned i = 0; i < 100; i++)
		open_flow(w, (uint16_t)(2000 + i), 6000);
	assert_in_range(warnings, 1, 6);
	open_flow(w, 3000, 6000);
	assert_int_equal(fake_os.n_sent, 1);
}

/*
 * Whoever likes can send to the port of a socket that is not connected: what comes there is the guest's, for as long as the guest itself goes on,
 * and 180 s after that if there was an answer.
 */
static void strangers_prolong_nothing(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep guest = net_ep(&a->guest, 1000), group = net_ep(&a->group, 1900), stranger = net_ep(&a->peer2, 7);
		size_t before = w->net.fl.frames;
		int fd;

		for (unsigned i = 0; i < 20; i++) {
			world_send(w, &guest, &group, "search", 6, NULL);
			fd = fake_sent(fake_os.n_sent - 1)->fd;
			for (unsigned j = 0; j < 3; j++) {
				fake_dgram_push(fd, &stranger, NULL, "word", 4);
				world_settle(w);
				advance_s(w, 50);
			}
			assert_int_equal(w->net.fl.frames, before + 3 * i + 3);
			assert_int_equal(fake_open_count(), 1);
		}
		advance_s(w, 28);
		assert_int_equal(fake_open_count(), 1);
		fake_dgram_push(fd, &stranger, NULL, "word", 4);
		world_settle(w);
		advance_s(w, 4);
		assert_int_equal(fake_open_count(), 0);
	}
}

/* What arrives waits while the system has no memory for it, and nobody asks for it all the time. */
static void no_memory(void **state)
{
	struct world *w = *state;
	const struct ep to = { addr_any4, 8000 };
	const struct net_family *a = &net_families[0];
	struct ep peer = net_ep(&a->peer, 7000), at = net_ep(&a->guest, 8000), guest = net_ep(&a->guest, 80);
	int fd, ls = world_listen(w, &to.addr, to.port, guest.port);

	world_listen_start(w);
	fd = open_flow(w, 1000, 6000);
	fake_fail(FAKE_RECVMMSG, -1, ENOMEM, 0, UINT_MAX);
	answer(w, fd);
	assert_int_not_equal(fake_dgram_route(17, &peer, &at, "question", 8), -1);
	for (unsigned i = 0; i < 3; i++) {
		world_settle(w);
		advance_s(w, 2);
	}
	udp_link_ready(w->udp);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	fake_fail(FAKE_RECVMMSG, -1, 0, 0, 0);
	advance_s(w, 2);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 2);
	assert_true(fake_fd(ls)->in_epoll);

	/* The flow's time passes while its socket rests. */
	fake_fail(FAKE_RECVMMSG, fd, ENOBUFS, 0, UINT_MAX);
	answer(w, fd);
	advance_s(w, 200);
	assert_int_equal(flow_count(w->net.flows), 0);
	fake_fail(FAKE_RECVMMSG, -1, 0, 0, 0);
	world_listen_stop(w);
}

static void aborted(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct flow_key key = flow_key_init(17, &a->guest, 1000, &a->peer, 6000);

	open_flow(w, 1000, 6000);
	udp_flow_abort(w->udp, flow_find(w->net.flows, &key));
	assert_int_equal(fake_open_count(), 0);
	assert_null(flow_find(w->net.flows, &key));
}

/* A port that was shared can be taken for itself again when the last has gone. */
static void shared_port_is_counted(void **state)
{
	struct world *w = *state;
	int fd;

	open_flow(w, 1000, 1);
	open_flow(w, 1000, 2);
	assert_int_equal(fake_fd_nth(1)->local.port, 1000);
	advance_s(w, 40);
	assert_int_equal(fake_open_count(), 0);
	fd = open_flow(w, 1000, 3);
	assert_int_equal(fake_fd(fd)->local.port, 1000);
	/* It is not, if somebody else has taken it meanwhile. */
	advance_s(w, 40);
	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 17, &fd), 0);
	assert_int_equal(sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(sock_bind(fd, AF_INET, &(struct ep){ addr_any4, 1000 }, 0), 0);
	assert_int_not_equal(fake_fd(open_flow(w, 1000, 3))->local.port, 1000);
	sock_close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(time_outs),
		T(many_time_outs),
		T(half_of_the_table),
		T(table_full_of_others),
		cmocka_unit_test_setup_teardown(shorter_answered, setup_shorter_answered, world_teardown),
		cmocka_unit_test_setup_teardown(short_time_outs, setup_short, world_teardown),
		cmocka_unit_test_setup_teardown(long_time_outs, setup_long, world_teardown),
		T(short_beside_long),
		T(no_descriptors),
		T(strangers_prolong_nothing),
		T(no_memory),
		T(aborted),
		T(shared_port_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
