/* SPDX-License-Identifier: MIT */
#include "tcp/pipe_pool.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

void pipe_pool_init(struct pipe_pool *pp, unsigned max, unsigned big_max)
{
	*pp = (struct pipe_pool){ .max = max, .big_max = big_max };
}

static bool is_big(const struct pipe *p)
{
	return p->size >= PIPE_POOL_BIG;
}

static void pool_close(struct pipe_pool *pp, struct pipe *p)
{
	pp->big -= is_big(p);
	pp->open--;
	pipe_close(p);
}

void pipe_pool_trim(struct pipe_pool *pp, unsigned keep)
{
	while (pp->n_idle > keep)
		pool_close(pp, &pp->idle[--pp->n_idle]);
}

void pipe_pool_fini(struct pipe_pool *pp)
{
	pipe_pool_trim(pp, 0);
}

static int pool_open(struct pipe_pool *pp, struct pipe *ret_pipe)
{
	struct pipe p;
	int err = pipe_open(&p);

	if (err)
		return err;
	/* Where even that is refused, what it has may still be enough. */
	if (pp->big < pp->big_max)
		(void)!pipe_resize(&p, PIPE_POOL_BIG);
	if (p.size < PIPE_POOL_SMALL) {
		pipe_close(&p);
		return -ENOBUFS;
	}
	pp->open++;
	pp->big += is_big(&p);
	*ret_pipe = p;
	return 0;
}

bool pipe_pool_get(struct pipe_pool *pp, struct pipe *ret_pipe)
{
	int err;

	if (pp->n_idle) {
		*ret_pipe = pp->idle[--pp->n_idle];
		return true;
	}
	if (pp->pause) {
		pp->pause--;
	} else if (pp->open < pp->max) {
		err = pool_open(pp, ret_pipe);
		if (!err)
			return true;
		log_limited(LOG_LVL_WARN, "No pipe for a connection on loopback, copying instead: %s", strerror(-err));
		pp->pause = PIPE_POOL_PAUSE;
	}
	pp->short_of++;
	return false;
}

void pipe_pool_put(struct pipe_pool *pp, struct pipe *p, bool empty)
{
	if (p->rd < 0)
		return;
	if (empty && pp->n_idle < PIPE_POOL_KEEP)
		pp->idle[pp->n_idle++] = *p;
	else
		pool_close(pp, p);
	*p = PIPE_NONE;
}
