/* SPDX-License-Identifier: MIT */
#include "udp/udp_out.h"

#include <errno.h>
#include <string.h>

#include "base/iov.h"

void udp_out_begin(struct udp_out *o, const struct udp_out_to *to)
{
	o->to = to;
	o->sent = o->lost = 0;
	o->n = o->n_iov = 0;
	o->like = (struct msghdr){ 0 };
	if (to->seg->max != UINT16_MAX && to->now_s - to->seg->lowered_s >= UDP_OUT_RETRY_S)
		to->seg->max = UINT16_MAX;
	if (!to->dst)
		return;
	o->like.msg_name = &o->name;
	o->like.msg_namelen = sock_from_ep(to->family, to->dst, to->scope, &o->name);
}

/* Several datagrams of this size may be one message. */
static bool may_join(struct udp_out *o, size_t seg)
{
	if (!seg || seg > UDPSEG_BYTES || seg > o->to->seg->max)
		return false;
	if (!o->checked) {
		o->checked = true;
		o->known = udpseg_known(o->to->fd);
	}
	return o->known;
}

static void msg_init(struct udp_out *o, unsigned i)
{
	struct msghdr *h = &o->m[i].msg_hdr;

	*h = o->like;
	if (o->to->local)
		pktinfo_put(h, o->ctl[i].b, o->to->family == AF_INET6, o->to->local, o->to->scope);
}

/* Part of what is put as pieces of memory; false: there is no room. */
static bool iov_put(struct udp_out *o, const struct udp_out_data *d, unsigned *ret_n)
{
	size_t got;
	unsigned n = iov_slice(d->iov, d->n, d->off, d->len, o->iov + o->n_iov, UDP_OUT_IOV - o->n_iov, &got);

	if (got < d->len)
		return false;
	o->n_iov += n;
	*ret_n = n;
	return true;
}

/* A message of what is put; open: others may join. False: there is no room. */
static bool msg_new(struct udp_out *o, const struct udp_out_data *d, bool open)
{
	struct iovec *iov = o->iov + o->n_iov;
	struct msghdr *h;
	unsigned n;

	if (o->n == LINK_BATCH || !iov_put(o, d, &n))
		return false;
	h = &o->m[o->n].msg_hdr;
	msg_init(o, o->n);
	h->msg_iov = iov;
	h->msg_iovlen = n;
	o->run[o->n++] = (struct udp_out_run){
		.pkt = d->pkt,
		.len = d->len,
		.seg = d->seg ? d->seg : (uint16_t)d->len,
		.n = (uint16_t)(d->seg ? (d->len + d->seg - 1) / d->seg : 1),
		.each = open,
		.open = open,
	};
	return true;
}

/* A datagram at the end of the last message, if it fits there. */
static bool msg_join(struct udp_out *o, const struct udp_out_data *d)
{
	struct udp_out_run *r = o->n ? &o->run[o->n - 1] : NULL;
	unsigned n;

	if (!r || !r->open || !d->len || d->len > r->seg || r->n == UDPSEG_MAX || r->len + d->len > UDPSEG_BYTES)
		return false;
	if ((d->pkt && d->pkt != r->pkt + r->n) || !may_join(o, r->seg) || !iov_put(o, d, &n))
		return false;
	o->m[o->n - 1].msg_hdr.msg_iovlen += n;
	r->len += d->len;
	r->n++;
	r->open = d->len == r->seg;
	return true;
}

/* Part of what is put; open: it is one datagram, which may share a message with others. */
static void put(struct udp_out *o, const struct udp_out_data *part, bool open)
{
	if ((open && msg_join(o, part)) || msg_new(o, part, open))
		return;
	udp_out_flush(o);
	if (!msg_new(o, part, open))
		o->lost++; /* in more pieces of memory than any frame is */
}

void udp_out_put(struct udp_out *o, const struct udp_out_data *d)
{
	bool several = d->seg && d->seg < d->len, whole = several && may_join(o, d->seg);
	struct udp_out_data part = *d;
	size_t left = d->len, most = d->len;

	if (several)
		most = whole ? MIN(UDPSEG_MAX, UDPSEG_BYTES / d->seg) * (size_t)d->seg : d->seg;
	if (!whole)
		part.seg = 0;
	do {
		part.len = MIN(left, most);
		put(o, &part, !several);
		part.off += part.len;
		left -= part.len;
	} while (left);
}

/* A socket without room has none for the next either. */
static bool is_full(int rc)
{
	return rc == -EAGAIN || rc == -ENOBUFS || !rc;
}

/* How many messages were sent; 0, -EAGAIN, -ENOBUFS: no room; other -errno: of the first. */
static int send_some(struct udp_out *o, struct mmsghdr *m, unsigned n)
{
	int rc = sock_sendmmsg(o->to->fd, m, n, 0);

	if (rc < 0 && !is_full(rc) && o->to->pending(o->to->ctx, -rc))
		rc = sock_sendmmsg(o->to->fd, m, n, 0);
	return rc;
}

static void failed(struct udp_out *o, const struct pkt *pkt, int rc)
{
	o->lost++;
	o->to->failed(o->to->ctx, pkt, -rc);
}

/*
 * The kernel refuses datagrams that would become fragments (EMSGSIZE, EINVAL before Linux 6.13) and interfaces that compute no
 * checksums (EIO); what else fails has nothing to do with segments.
 */
static void seg_refused(const struct udp_out *o, uint16_t seg, int rc)
{
	uint16_t max = o->to->seg->max;

	if (rc == -EIO)
		max = 0;
	else if ((rc == -EMSGSIZE || rc == -EINVAL) && seg <= max)
		max = (uint16_t)(seg - 1);
	if (max != o->to->seg->max)
		*o->to->seg = (struct udp_out_seg){ .max = max, .lowered_s = o->to->now_s };
}

/* The datagrams of message i, one by one. Returns how many are done with, sent or not; fewer than there are: no room. */
static unsigned send_each(struct udp_out *o, unsigned i)
{
	const struct udp_out_run *r = &o->run[i];
	const struct msghdr *all = &o->m[i].msg_hdr;
	struct iovec iov[LINK_IOV_MAX + 1];
	struct mmsghdr m = { .msg_hdr = *all };

	m.msg_hdr.msg_iov = iov;
	m.msg_hdr.msg_controllen -= CMSG_SPACE(sizeof(r->seg));
	for (unsigned k = 0; k < r->n; k++) {
		size_t off = (size_t)k * r->seg;
		int rc;

		m.msg_hdr.msg_iovlen = iov_slice(all->msg_iov, (unsigned)all->msg_iovlen, off, MIN(r->seg, r->len - off), iov,
						 ARRAY_SIZE(iov), NULL);
		rc = send_some(o, &m, 1);
		if (is_full(rc))
			return k;
		if (rc > 0)
			o->sent++;
		else
			failed(o, r->pkt && r->each ? r->pkt + k : r->pkt, rc);
	}
	return r->n;
}

void udp_out_flush(struct udp_out *o)
{
	unsigned i = 0, done = 0; /* done: datagrams of message i */

	for (unsigned k = 0; k < o->n; k++) {
		if (o->run[k].n > 1)
			udpseg_put(&o->m[k].msg_hdr, o->ctl[k].b, o->run[k].seg);
	}
	while (i < o->n) {
		int rc = send_some(o, &o->m[i], o->n - i);

		if (is_full(rc))
			break;
		for (; rc > 0; rc--)
			o->sent += o->run[i++].n;
		if (!rc)
			continue;
		if (o->run[i].n > 1) {
			seg_refused(o, o->run[i].seg, rc);
			done = send_each(o, i);
			if (done < o->run[i].n)
				break;
			done = 0;
		} else {
			failed(o, o->run[i].pkt, rc);
		}
		i++;
	}
	for (; i < o->n; i++, done = 0)
		o->lost += o->run[i].n - done;
	o->n = o->n_iov = 0;
}

void udp_out_end(struct udp_out *o)
{
	udp_out_flush(o);
	o->to = NULL;
}
