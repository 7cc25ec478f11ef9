/* SPDX-License-Identifier: MIT */
/*
 * Configuration: the command line and what was found on the host, checked together. Everything here happens before the loop;
 * a wrong option ends the program with one clear line and exit status 1.
 */
#pragma once

#include <sys/types.h>

#include "fwd/nat.h"
#include "fwd/out.h"
#include "fwd/rule.h"
#include "os/passed.h"
#include "service/guestconf.h"

#define CONF_PATH_MAX 4096
#define CONF_MTU_MIN6 1280 /* RFC 8200 5 */

enum conf_mode { CONF_PASST, CONF_PASTA };

/*
 * The namespace of pasta: a new one, for a command, if spawn is set; else that of a process or that of a path. None of these is looked
 * at: a path may be one of our descriptors (/proc/self/fd/0).
 */
struct conf_ns {
	bool spawn;
	char *const *command; /* argv of the command, up to NULL, in the argv of conf_load(); NULL with spawn: a login shell */

	pid_t pid; /* 0: none */
	char netns[CONF_PATH_MAX]; /* path, or a name in /run/netns if it has no slash; empty: none */
	char userns[CONF_PATH_MAX]; /* path; empty: none */
	bool netns_only; /* stay in our user namespace, as is implied by netns without userns; with spawn: don't create one */
	bool no_pidns; /* --no-pidns: with spawn, leave it in our PID namespace */
	bool no_quit; /* --no-netns-quit: stay when the namespace's path is gone */

	char ifname[16]; /* of the interface in the namespace, never empty unless splice_only */
	bool config_net; /* set up the interface and copy addresses and routes to it; what is not copied is in struct guestconf */
	/* All addresses of the template interface. In any case addr4 with plen4 and addr6 with /64, if set, are to be there. */
	bool copy_addrs4, copy_addrs6;
	/* All its routes, without preferred sources that the namespace does not have; else a default route by gw4, by gw6 or our_ll6. */
	bool copy_routes4, copy_routes6;

	bool splice; /* what comes from the host's loopback bypasses the interface; what goes to it by out_rules always does */
	bool handover; /* TCP connections are handed over to sockets, where that is possible */
	bool splice_only; /* there is nothing else: no interface */
	bool host_lo_to_ns_lo; /* what comes from the host's loopback goes to the loopback of the namespace */
};

/* Sockets of a service manager's (os/passed.h), at numbers of 3 and above. */
struct conf_passed {
	int guest; /* bound, and, but for datagrams, listening: the guest's; its type is socket_type. -1: none */
	int control; /* likewise, the control socket; -1: none */
	struct {
		int fd;
		struct bound_spec at;
	} port[PASSED_MAX]; /* of forwards: each is in place of the one that a rule of this address and port would open */
	unsigned ports;
};

/* What one guest may use at once. */
struct conf_limits {
	uint32_t flows, half_open; /* 0: as many as there are descriptors for; half of that */
	uint32_t flow_rate; /* that the guest begins, a second; 0: any number */
	uint32_t spill, reassembly; /* bytes */
};

struct conf {
	enum conf_mode mode;

	/* link */
	char socket_path[108]; /* empty: default paths are tried in turn */
	int socket_type; /* SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM */
	int fd; /* --fd: a connected socket of that type, at a number of 3 or above; -1: none */
	bool one_off;
	bool vhost_user;
	struct conf_passed passed;

	/* families, protocols, services */
	bool v4, v6; /* enabled and usable */
	bool tcp, udp, icmp;
	uint32_t udp_timeout_s, udp_timeout_stream_s; /* of UDP without and with an answer; 0: the translator's own */
	uint16_t mtu; /* of the link, never 0: what is advertised is in guest */

	struct guestconf guest; /* for the services */
	bool fixed4, fixed6; /* -a was given for the family */
	uint8_t guest_mac[MAC_LEN]; /* --ns-mac-addr; all-zero if it is to be learned (passt) or left to the kernel (pasta) */
	struct conf_limits limits;
	struct nat nat; /* for the translators */
	struct outbound out;

	char template4[16], template6[16]; /* interfaces that addresses and routes were taken from; empty: local mode */
	unsigned template4_ifindex, template6_ifindex; /* 0: local mode */

	uint16_t eph_first, eph_last; /* the host's ephemeral ports */
	struct fwd_table in; /* -t -u */
	struct fwd_table out_rules; /* -T -U; empty in passt mode */

	struct conf_ns ns; /* all-zero in passt mode */

	/* process */
	bool foreground;
	bool quiet, debug, trace;
	uint32_t stats_s; /* least seconds between two lines of --stats; 0: none */
	char pid_file[CONF_PATH_MAX]; /* empty: none */
	char log_file[CONF_PATH_MAX]; /* empty: syslog and, in the foreground, stderr */
	size_t log_size; /* bytes; default 1 MiB */
	char pcap_file[CONF_PATH_MAX]; /* empty: none */
	bool chroot_fallback; /* where the root can not be moved, change it */
	char conf_path[108]; /* control socket; empty: none */
	bool have_runas;
	uid_t runas_uid;
	gid_t runas_gid;
};

/* Somebody may come and ask for something else than what is here. */
static inline bool conf_has_control(const struct conf *c)
{
	return c->conf_path[0] || c->passed.control >= 0;
}

/* What a configuration was made from; opaque. */
struct conf_source;

/*
 * Fills in *c, which is all zero, from argv and the host. Prints and exits by itself for --help and --version (0) and for errors (1, message
 * on stderr). Closes what descriptors there are from 3 on, but those of a service manager and that of --fd, which moves if it is a standard
 * stream (os/daemon.h). Discovery of the host (netlink, resolv.conf) never exits: what is missing is a warning and a default. *ret_source
 * is for free(3).
 */
void conf_load(struct conf *c, int argc, char **argv, struct conf_source **ret_source);

struct follow;

/*
 * Looks at the host again, for what of c follows it (conf/follow.h). -errno if resolv.conf can't be read: what it told is empty in *ret_f
 * then. As slow as a start.
 */
MUST_USE int conf_again(const struct conf_source *s, const struct conf *c, struct follow *ret_f);

/* Start-up lines of CLIENTS.md 3.5 at level info: template, MAC, DHCP block, DNS, NDP, rules. */
void conf_print(const struct conf *c);
