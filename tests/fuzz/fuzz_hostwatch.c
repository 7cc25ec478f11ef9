/* SPDX-License-Identifier: MIT */
/*
 * A host agent that says what it likes: each piece of the input is the length of a message, and its bytes. What the engine takes of it has to be
 * in order in any case.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "conf/val.h"
#include "core/hostwatch.h"
#include "fds.h"
#include "os/fdpass.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct told {
	struct guestconf guest;
	struct nat nat;
};

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void check(const struct told *t)
{
	char name[VAL_NAME_MAX];

	assert(t->guest.n_dns4 <= GUESTCONF_DNS && t->guest.n_dns6 <= GUESTCONF_DNS && t->guest.n_search <= GUESTCONF_SEARCH);
	for (unsigned i = 0; i < t->guest.n_dns4; i++)
		assert(addr_is4(&t->guest.dns4[i]) && !addr_is_any(&t->guest.dns4[i]));
	for (unsigned i = 0; i < t->guest.n_dns6; i++)
		assert(!addr_is4(&t->guest.dns6[i]) && !addr_is_any(&t->guest.dns6[i]));
	for (unsigned i = 0; i < t->guest.n_search; i++)
		assert(!val_name(t->guest.search[i], strlen(t->guest.search[i]), name));
}

static int on_news(void *ctx, const struct follow *f)
{
	struct told *t = ctx;
	int err = follow_set(f, &t->guest, &t->nat);

	check(t);
	return err;
}

/* Zeros behind what the input has, up to the size of the type or another one. */
static void say(int peer, struct rd *in)
{
	struct hostwatch_msg m;
	size_t n = MIN((size_t)rd_be16(in), sizeof(m)), len;

	memset(&m, 0, sizeof(m));
	n = MIN(n, rd_left(in));
	rd_copy(in, &m, n);
	len = hostwatch_msg_size(m.type);
	(void)!fdpass_send(peer, &m, len ? len : n, NULL, 0, MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	unsigned before = fds_open();
	struct told t = { .guest.n_dns4 = 0 };
	struct hostwatch w = { .h.fd = -1 };
	struct loop loop;
	int sock[2];

	log_set_sink(sink, NULL);
	if (loop_init(&loop) || fdpass_pair(sock))
		abort();
	w.h.fd = sock[0];
	if (hostwatch_open(&w, &loop, on_news, &t))
		abort();
	for (unsigned i = 0; i < 8 && rd_left(&in); i++)
		say(sock[1], &in);
	close(sock[1]);
	(void)!loop_turn(&loop);
	assert(w.h.fd < 0);
	check(&t);
	hostwatch_close(&w);
	loop_fini(&loop);
	assert(fds_open() == before);
	return 0;
}
