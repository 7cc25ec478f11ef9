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
#include "service/guestconf.h"

#define CONF_PATH_MAX 4096

enum conf_mode { CONF_PASST, CONF_PASTA };

struct conf {
	enum conf_mode mode;

	/* link */
	char socket_path[108]; /* empty: default paths are tried in turn */
	int fd; /* --fd: a connected socket; -1: none */
	bool one_off;

	/* families, protocols, services */
	bool v4, v6; /* enabled and usable */
	bool tcp, udp, icmp;
	uint16_t mtu; /* of the link, never 0: what is advertised is in guest */

	struct guestconf guest; /* for the services */
	bool fixed4, fixed6; /* -a was given for the family */
	uint8_t guest_mac[MAC_LEN]; /* --ns-mac-addr; all-zero if it is to be learned */
	struct nat nat; /* for the translators */
	struct outbound out;

	char template4[16], template6[16]; /* interfaces that addresses and routes were taken from; empty: local mode */

	struct fwd_table in; /* -t -u */

	/* process */
	bool foreground;
	bool quiet, debug, trace;
	char pid_file[CONF_PATH_MAX]; /* empty: none */
	char log_file[CONF_PATH_MAX]; /* empty: syslog and, in the foreground, stderr */
	size_t log_size; /* bytes; default 1 MiB */
	char pcap_file[CONF_PATH_MAX]; /* empty: none */
	bool have_runas;
	uid_t runas_uid;
	gid_t runas_gid;
};

/*
 * Fills in *c from argv and the host. Prints and exits by itself for --help and --version (0) and for errors (1, message on stderr).
 * Discovery of the host (netlink, resolv.conf) never exits: what is missing is a warning and a default.
 */
void conf_load(struct conf *c, int argc, char **argv);

/* Start-up lines of CLIENTS.md 3.5 at level info: template, MAC, DHCP block, DNS, NDP, rules. */
void conf_print(const struct conf *c);
