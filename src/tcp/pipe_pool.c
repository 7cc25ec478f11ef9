/* SPDX-License-Identifier: MIT */
#include "tcp/pipe_pool.h"

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

void pipe_pool_fini(struct pipe_pool *pp)
{
	while (pp->n_idle)
		pool_close(pp, &pp->idle[--pp->n_idle]);
}

static bool pool_open(struct pipe_pool *pp, struct pipe *ret_pipe)
{
	int err;

	if (pp->open == pp->max)
		return false;
	err = pipe_open(ret_pipe);
	if (err) {
		log_limited(LOG_LVL_WARN, "No pipe for a connection on loopback, copying instead: %s", strerror(-err));
		return false;
	}
	pp->open++;
	if (pp->big < pp->big_max && !pp->no_big)
		pp->no_big = pipe_resize(ret_pipe, PIPE_POOL_BIG);
	pp->big += is_big(ret_pipe);
	return true;
}

bool pipe_pool_get(struct pipe_pool *pp, struct pipe *ret_pipe)
{
	if (pp->n_idle) {
		*ret_pipe = pp->idle[--pp->n_idle];
		return true;
	}
	if (pool_open(pp, ret_pipe))
		return true;
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
