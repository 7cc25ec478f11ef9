/* SPDX-License-Identifier: MIT */
/* Runs a command (none: the login shell) as netns/spawn does, passes signals on, and tells the exit status. For test_tty.py. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "netns/spawn.h"

static void signal_pass(struct spawn *s, int fd)
{
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof(si)) == sizeof(si))
		spawn_signal(s, (int)si.ssi_signo, si.ssi_code == SI_KERNEL);
}

int main(int argc, char **argv)
{
	const struct spawn_conf c = { .argv = argc > 1 ? argv + 1 : NULL, .uid = geteuid(), .gid = getegid() };
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct spawn s;
	sigset_t set;
	struct ns ns;
	int status;

	if (spawn_start(&c, &s, &ns))
		return EXIT_FAILURE;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGTSTP);
	sigaddset(&set, SIGTTIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p[0].fd = s.pid_fd;
	p[1].fd = signalfd(-1, &set, 0);
	if (spawn_go(&s))
		return EXIT_FAILURE;
	do {
		if (poll(p, 2, -1) < 0)
			return EXIT_FAILURE;
		if (p[1].revents)
			signal_pass(&s, p[1].fd);
	} while (!p[0].revents || spawn_status(&s, &status));
	printf("status %i foreground %i\n", status, tcgetpgrp(STDIN_FILENO) == getpgrp());
	spawn_close(&s);
	ns_close(&ns);
	return EXIT_SUCCESS;
}
