/* SPDX-License-Identifier: MIT */
#include "core/nslink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Frames that come from here and there in turns don't keep us, and the annex, from doing anything else. */
#define MAC_PAUSE_NS (50 * NSEC_PER_MSEC)

static void tell(struct nslink *f)
{
	struct agent_req q = { .head.type = AGENT_FOLLOW, .annex = f->is };
	uint32_t cookie;
	int err;

	f->again = f->asked;
	if (f->asked)
		return;
	err = agent_send(f->annex, &q, &cookie);
	f->asked = !err;
	if (err)
		log_limited(LOG_LVL_WARN, "A change of the interface in the namespace is lost: %s", strerror(-err));
}

void nslink_replied(struct nslink *f, int err)
{
	if (err)
		log_limited(LOG_LVL_WARN, "The annex doesn't follow the interface: %s", strerror(-err));
	f->asked = false;
	if (f->again)
		tell(f);
}

void nslink_mac_new(struct nslink *f, const uint8_t mac[MAC_LEN])
{
	/* The next frame tells as well. */
	if (f->ended || (mac[0] & 1) || (f->mac_ns && f->loop->now_ns - f->mac_ns < MAC_PAUSE_NS))
		return;
	f->mac_ns = f->loop->now_ns;
	memcpy(f->is.mac, mac, MAC_LEN);
	tell(f);
}

static void end(struct nslink *f)
{
	if (f->ended)
		return;
	f->ended = true;
	loop_del(f->loop, f->fd);
	f->gone(f->ctx);
}

static void on_entry(void *ctx, const struct nl_entry *e)
{
	struct nslink *f = ctx;
	const struct nl_link *l = &e->link;

	if (f->ended || (e->kind != NL_LINK && e->kind != NL_LINK_GONE))
		return;
	if (f->ifindex ? l->index != f->ifindex : strncmp(l->name, f->is.name, sizeof(f->is.name)))
		return;
	if (e->kind == NL_LINK_GONE) {
		end(f);
		return;
	}
	f->ifindex = l->index;
	if (!l->has_mac || (l->mtu == f->is.mtu && !memcmp(l->mac, f->own, MAC_LEN)))
		return;
	f->is.mtu = l->mtu;
	/* Otherwise frames know better. */
	if (memcmp(l->mac, f->own, MAC_LEN))
		memcpy(f->is.mac, l->mac, MAC_LEN);
	memcpy(f->own, l->mac, MAC_LEN);
	tell(f);
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct nslink *f = ctx;
	int err;

	if (f->ended)
		return;
	err = nl_links_read(f->fd, on_entry, f);
	if (err == -ENOBUFS)
		err = nl_links_ask(f->fd, f->ifindex, f->is.name);
	if (err == -ENODEV)
		end(f);
	else if (err)
		log_limited(LOG_LVL_WARN, "Changes of the interface in the namespace: %s", strerror(-err));
}

int nslink_start(struct nslink *f, struct loop *loop)
{
	int err;

	f->loop = loop;
	memcpy(f->own, f->is.mac, MAC_LEN);
	err = loop_add(loop, f->fd, ref_init(loop_owner(loop, on_event, f), 0, 0), EPOLLIN);
	/* It may have changed before there was somebody who looks. */
	return err ? err : nl_links_ask(f->fd, 0, f->is.name);
}

void nslink_close(struct nslink *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}
