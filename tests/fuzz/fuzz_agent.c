/* SPDX-License-Identifier: MIT */
/*
 * A namespace agent that answers what it likes: each piece of the input is the length of a message, a number of descriptors and its
 * bytes. They are taken as they come, or waited for by a call. In the end all descriptors are closed again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "netns/agent.h"
#include "fds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void on_reply(void *ctx, const struct agent_reply *r, const int *fds, unsigned n)
{
	assert(r->err <= 0 && (!r->err || !n) && r->n_fds == n && n <= FDPASS_MAX);
	while (n)
		close(fds[--n]);
}

static void ask_annex(struct agent *a, uint8_t what)
{
	const struct annex_conf conf = { .name = "eth0", .v6 = what >> 3 };
	struct annex_result r;
	struct annex_fds fds;
	int fd;

	if (what % 8 == 5 && !agent_annex(a, &conf, -1, &r, &fds)) {
		close(fds.tap);
		for (unsigned f = 0; f <= conf.v6; f++)
			close(fds.raw[f]);
	} else if (what % 8 == 6 && !agent_links(a, &fd)) {
		close(fd);
	} else if (what % 8 == 7) {
		(void)!agent_leave(a);
	}
}

/* What start-up asks; the answer is there already, or the end. */
static void ask(struct agent *a, uint8_t what)
{
	static const struct nsconf conf = { .name = "tap0" };
	const struct bound_spec spec = { .port = 80, .proto = 6 };
	struct tun tun = { .fd = -1 };
	int fd = -1;
	bool v6;

	switch (what % 8) {
	case 0:
		if (!agent_open_tap(a, "tap0", true, &tun))
			close(tun.fd);
		break;
	case 1:
		(void)!agent_config(a, &conf);
		break;
	case 2:
		if (!agent_diag(a, &fd))
			close(fd);
		break;
	case 3:
		(void)!agent_seal(a, &(struct helper_seal){ 1, 1, 1 });
		break;
	case 4:
		if (!agent_listen(a, &spec, &fd, &v6))
			close(fd);
		break;
	default:
		ask_annex(a, what);
		break;
	}
}

/* A message of the right size for its type, unless the input says otherwise; and what the reader trusts none of. */
static void answer(int peer, struct rd *in)
{
	static const int some[FDPASS_MAX];
	struct agent_reply r = { .head.type = rd_u8(in) % (AGENT_TYPES + 1) };
	uint8_t how = rd_u8(in);
	unsigned n_fds = how & 0x1f;
	size_t len = agent_reply_size(r.head.type), n;

	r.head.cookie = rd_u8(in);
	r.err = how & 0x20 ? -(int32_t)rd_u8(in) : 0;
	r.n_fds = n_fds;
	r.text[0] = 'x';
	if (how & 0x40) {
		n = MIN((size_t)rd_be16(in), sizeof(r) - sizeof(r.head));
		n = MIN(n, rd_left(in));
		rd_copy(in, (uint8_t *)&r + sizeof(r.head), n);
	}
	if (how & 0x80)
		len = MIN((size_t)rd_be16(in), sizeof(r));
	(void)!fdpass_send(peer, &r, len, some, MIN(n_fds, (unsigned)FDPASS_MAX), MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	unsigned before = fds_open(), what = rd_u8(&in);
	struct agent a = { .h.fd = -1 };
	int sock[2];

	log_set_sink(sink, NULL);
	if (fdpass_pair(sock))
		abort();
	a.h.fd = sock[0];
	if (what & 0x80)
		agent_set_reply(&a, on_reply, NULL);
	for (unsigned i = 0; i < 8 && rd_left(&in); i++)
		answer(sock[1], &in);
	if (what & 0x40)
		assert(agent_on_event(&a) <= 0);
	/* It takes no request, but what it said is there to be read. */
	if (shutdown(sock[1], SHUT_WR))
		abort();
	ask(&a, what & 0x0f);
	assert(agent_on_event(&a) <= 0);
	agent_close(&a);
	close(sock[1]);
	assert(fds_open() == before);
	return 0;
}
