/* SPDX-License-Identifier: MIT */
#include "os/helper.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/ident.h"

#define END_TIMEOUT_MS 1000

int helper_start(helper_fn *fn, const void *ctx, struct helper *ret_h)
{
	pid_t self = getpid(), pid;
	int sock[2];
	int err = fdpass_pair(sock);

	if (err)
		return err;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close(sock[0]);
		close(sock[1]);
		return err;
	}
	if (!pid) {
		close(sock[0]);
		fn(ctx, sock[1], self);
		_exit(EXIT_FAILURE);
	}
	close(sock[1]);
	*ret_h = (struct helper){ .fd = sock[0], .pid = pid };
	return 0;
}

ssize_t helper_recv(struct helper *h, void *buf, size_t cap, int ret_fds[FDPASS_MAX], unsigned *ret_n)
{
	unsigned n = 0;
	ssize_t len = fdpass_recv(h->fd, buf, cap, MSG_DONTWAIT, ret_fds, &n);

	if (len < 0)
		return len == -EAGAIN ? -EAGAIN : len == -ECONNRESET ? -EPIPE : -EPROTO;
	if (!len) {
		fdpass_close(ret_fds, n); /* an empty message may have some, other than the end */
		return -EPIPE;
	}
	*ret_n = n;
	return len;
}

void helper_orphan(struct helper *h)
{
	h->pid = 0;
}

void helper_close(struct helper *h)
{
	/* It ends at the end of the socket, and that is the end of ours. */
	if (h->fd >= 0 && h->pid <= 0 && !shutdown(h->fd, SHUT_WR))
		(void)!fdpass_wait(h->fd, END_TIMEOUT_MS);
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	if (h->pid <= 0)
		return;
	/* The end of the socket is enough for it, unless it is stuck in the kernel. */
	(void)kill(h->pid, SIGKILL);
	while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR) {
	}
	h->pid = 0;
}

static void signals_set(void)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int helper_stand_alone(void)
{
	int fd;

	signals_set();
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		if (dup2(fd, i) < 0)
			return -errno;
	}
	return 0;
}

/* Setting it is undone by a change of user, and doesn't tell about a parent that ended before. */
int helper_watch(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL))
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

/* The library's idea of whom to ask for comes from before the fork. */
int helper_bounds_drop(void)
{
	capng_setpid((int)getpid());
	return ident_bounds_drop();
}

int helper_caps_keep(const unsigned *cap, size_t n)
{
	bool have[8] = { false };

	if (n > ARRAY_SIZE(have))
		return -EINVAL;
	if (capng_get_caps_process())
		return -EPERM;
	for (size_t i = 0; i < n; i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, cap[i]);
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < n; i++) {
		if (have[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, cap[i]))
			return -EPERM;
	}
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

static int ids_set(const struct helper_seal *s)
{
	int err = 0;

	if (s->uid == UINT32_MAX || s->gid == UINT32_MAX)
		return 0;
	/* Otherwise the capabilities would go with the user. */
	if (prctl(PR_SET_KEEPCAPS, 1UL) || setgroups(0, NULL) || setresgid(s->gid, s->gid, s->gid) ||
	    setresuid(s->uid, s->uid, s->uid))
		err = -errno;
	(void)prctl(PR_SET_KEEPCAPS, 0UL);
	return err;
}

int helper_seal(const struct helper_seal *s, pid_t parent, const unsigned *cap, size_t n)
{
	int err = ids_set(s);

	if (!err)
		err = helper_caps_keep(cap, n);
	if (err || !s->orphan)
		return err ? err : helper_watch(parent);
	return prctl(PR_SET_PDEATHSIG, 0UL) ? -errno : 0;
}
