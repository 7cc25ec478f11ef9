/* SPDX-License-Identifier: MIT */
#include "tcp/splice_dir.h"

#include <errno.h>
#include <sys/epoll.h>

void splice_dir_on_in(struct splice_dir *d, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		d->in_ready = true;
	if (events & EPOLLRDHUP)
		d->fin = true;
	d->urgent = !!(events & EPOLLPRI);
}

void splice_dir_on_out(struct splice_dir *d, uint32_t events)
{
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		d->out_ready = true;
}

enum splice_act splice_dir_next(const struct splice_dir *d)
{
	if (d->shut)
		return SPLICE_DONE;
	if (d->out_broken)
		return SPLICE_WAIT;
	if (d->piped && d->out_ready)
		return SPLICE_DRAIN;
	if (d->eof)
		return d->piped ? SPLICE_WAIT : SPLICE_SHUT;
	if (!d->in_ready || d->in_broken || d->full)
		return SPLICE_WAIT;
	/* Neither the urgent byte nor what is copied can wait in a pipe. */
	if (!d->piped && (d->urgent || d->copy) && !d->out_ready)
		return SPLICE_WAIT;
	if (!d->piped && d->urgent)
		return SPLICE_URGENT;
	return d->copy && !d->piped ? SPLICE_COPY : SPLICE_FILL;
}

void splice_dir_filled(struct splice_dir *d, ssize_t r)
{
	if (r > 0)
		d->piped += (uint32_t)r;
	else if (!r && !d->in_reset)
		d->eof = true;
	else if (r == -EAGAIN && d->piped)
		d->full = true;
	else if (r == -EAGAIN)
		d->in_ready = false;
	else if (r != -EINTR)
		d->in_broken = true; /* or the end, after a reset */
}

void splice_dir_drained(struct splice_dir *d, ssize_t r)
{
	if (r > 0) {
		d->piped -= (uint32_t)r;
		d->full = false;
	} else if (r == -EAGAIN) {
		d->out_ready = false;
	} else if (r != -EINTR) {
		d->out_broken = true;
		d->out_reset = r != -EPIPE; /* with that, the reset came behind an end that can still be read */
	}
}

void splice_dir_hear(struct splice_dir *d, const struct splice_dir *other)
{
	if (other->out_reset)
		d->in_reset = true;
}

void splice_dir_at_mark(struct splice_dir *d)
{
	d->urgent = true;
	/* What is in the pipe has to go first: as with a pipe that is full. */
	if (d->piped)
		d->full = true;
}

void splice_dir_shut(struct splice_dir *d, int err)
{
	if (err)
		d->out_broken = true;
	else
		d->shut = true;
}

static bool at_rest(const struct splice_dir *d)
{
	enum splice_act act = splice_dir_next(d);

	return act == SPLICE_WAIT || act == SPLICE_DONE;
}

enum splice_end splice_dirs_end(const struct splice_dir d[2], bool err)
{
	if (d[0].shut && d[1].shut)
		return SPLICE_CLOSE;
	for (unsigned i = 0; i < 2; i++)
		err = err || d[i].in_broken || d[i].out_broken;
	return err && at_rest(&d[0]) && at_rest(&d[1]) ? SPLICE_RESET : SPLICE_GO_ON;
}
