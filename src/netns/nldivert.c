/* SPDX-License-Identifier: MIT */
#include "netns/nldivert.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include "netns/nlmsg.h"

int nldivert_open(struct nlreq *q, int ifindex)
{
	union nlmsg m;
	struct tcmsg *t = nlmsg_start(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, sizeof(*t));

	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = ifindex;
	t->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	t->tcm_parent = TC_H_CLSACT;
	mnl_attr_put_strz(&m.h, TCA_KIND, "clsact");
	return nlmsg_send(q, &m);
}

/* The first and only action of a filter. */
static void put_mirred(union nlmsg *m, const struct nldivert *d)
{
	struct tc_mirred p = {
		.action = d->copy ? TC_ACT_OK : TC_ACT_STOLEN,
		.eaction = d->copy ? TCA_EGRESS_MIRROR : TCA_EGRESS_REDIR,
		.ifindex = (uint32_t)d->to,
	};
	struct nlattr *list = mnl_attr_nest_start(&m->h, TCA_BPF_ACT), *first = mnl_attr_nest_start(&m->h, 1), *options;

	mnl_attr_put_strz(&m->h, TCA_ACT_KIND, "mirred");
	options = mnl_attr_nest_start(&m->h, TCA_ACT_OPTIONS);
	mnl_attr_put(&m->h, TCA_MIRRED_PARMS, sizeof(p), &p);
	mnl_attr_nest_end(&m->h, options);
	mnl_attr_nest_end(&m->h, first);
	mnl_attr_nest_end(&m->h, list);
}

int nldivert_add(struct nlreq *q, const struct nldivert *d)
{
	union nlmsg m;
	struct tcmsg *t = nlmsg_start(&m, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, sizeof(*t));
	struct nlattr *options;

	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = d->from;
	t->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	t->tcm_info = TC_H_MAKE((uint32_t)d->prio << 16, htons(ETH_P_ALL));
	mnl_attr_put_strz(&m.h, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(&m.h, TCA_OPTIONS);
	mnl_attr_put_u16(&m.h, TCA_BPF_OPS_LEN, d->what.n);
	mnl_attr_put(&m.h, TCA_BPF_OPS, d->what.n * sizeof(*d->what.insn), d->what.insn);
	put_mirred(&m, d);
	mnl_attr_nest_end(&m.h, options);
	return nlmsg_send(q, &m);
}
