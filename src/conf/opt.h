/* SPDX-License-Identifier: MIT */
/*
 * The command line: one table of options from which getopt's arrays, the help text and the mode errors are made.
 * Parsing has no effect but on *ret_opts (and a warning for a deprecated option): nothing is opened and nothing is asked of the host.
 */
#pragma once

#include <stdio.h>

#include "conf/conf.h"
#include "conf/val.h"

#define OPTS_ERR_LEN 512
#define OPTS_PORTS_MAX 512
#define OPTS_DNS_MAX (2 * GUESTCONF_DNS)
#define OPTS_LOG_SIZE (1024 * 1024)
#define OPTS_FLOWS_MAX 65536u
#define OPTS_RATE_MAX 1000000u
#define OPTS_SPILL (128u << 20)
#define OPTS_SPILL_MIN (1u << 20)
#define OPTS_SPILL_MAX (1u << 30)
#define OPTS_REASSEMBLY (4u << 20) /* as the kernel's own */
#define OPTS_REASSEMBLY_MIN (64u << 10)
#define OPTS_REASSEMBLY_MAX (16u << 20)

/* One address a family. All-zero: not given. */
struct opt_pair {
	struct addr v4, v6;
	bool none; /* the word "none" was given: there is no default */
};

/* A port option, evaluated after all the others. spec points into argv. */
struct opt_port {
	const char *spec;
	char letter; /* 't', 'u', 'T', 'U' */
};

struct opts {
	enum conf_mode mode;
	bool quiet, debug, trace, foreground, one_off, vhost_user;
	unsigned stats_s; /* 0: not given */
	bool v4_only, v6_only;
	bool no_tcp, no_udp, no_icmp;
	bool no_dhcp, no_dhcpv6, no_ndp, no_ra, no_dhcp_dns, no_dhcp_search;
	bool no_map_gw, freebind;

	/* pasta */
	bool netns_only, no_pidns, no_netns_quit, config_net, no_copy_routes, no_copy_addrs;
	bool dhcp_dns, dhcp_search;
	bool splice_only, no_splice, host_lo_to_ns_lo, no_handover;
	bool spawn; /* neither a process nor a namespace was given */
	char *const *command; /* the words after the options, up to NULL; NULL: none */
	pid_t pid; /* 0: not given */
	char netns[CONF_PATH_MAX], userns[CONF_PATH_MAX]; /* as given */
	char ns_ifname[VAL_IFNAME_MAX];
	uint8_t ns_mac[MAC_LEN]; /* all-zero: not given */

	char socket_path[108];
	int socket_type; /* SOCK_*; 0: not given */
	int fd; /* -1: not given */
	struct conf_passed passed;
	char repair_path[108]; /* as given, for the check alone; migrate: one of the options with that name was */
	bool migrate;
	char log_file[CONF_PATH_MAX], pid_file[CONF_PATH_MAX], pcap_file[CONF_PATH_MAX];
	char conf_path[108];
	size_t log_size;
	bool have_runas, chroot_fallback;
	uid_t runas_uid;
	gid_t runas_gid;

	bool have_mtu;
	unsigned mtu;
	uint8_t our_mac[MAC_LEN]; /* all-zero: not given */
	struct opt_pair address, gateway, outbound, dns_forward, dns_host, map_loopback, map_guest;
	unsigned plen4, plen6; /* that came with the address; 0: none */
	unsigned netmask; /* as a prefix length; 0: not given */
	char ifname[VAL_IFNAME_MAX], if4[VAL_IFNAME_MAX], if6[VAL_IFNAME_MAX];

	struct conf_limits limits;

	bool have_dns, have_search; /* given at all, even as "none" */
	struct addr dns[OPTS_DNS_MAX];
	unsigned n_dns;
	char search[GUESTCONF_SEARCH][VAL_NAME_MAX];
	unsigned n_search;
	char hostname[VAL_NAME_MAX], fqdn[VAL_NAME_MAX];

	struct opt_port port[OPTS_PORTS_MAX];
	unsigned n_ports;

	char err[OPTS_ERR_LEN];
};

enum opts_verdict {
	OPTS_RUN,
	OPTS_HELP,
	OPTS_VERSION,
	OPTS_CAPABILITIES,
	OPTS_USAGE, /* getopt has printed what is wrong; the usage has to follow */
	OPTS_ERROR, /* opts.err says what is wrong */
};

/* Mode from the last component of argv[0]; -EINVAL if it names none. */
MUST_USE int opts_mode(const char *argv0, enum conf_mode *ret_mode);

/*
 * Parses in the order of the words; stops at --help, --version, --print-capabilities and at the first error, and at the first word that
 * is no option: in pasta mode that is a process, if it is the only one and a number, or a command. With a command or none of all, we stay
 * in the foreground, and are quiet unless told to debug. By a name (argv[0]) with vhost-user in it, passt is what vhost-user.rst of QEMU expects of a back end
 * program: it speaks vhost-user without being told, and stays in the foreground.
 */
MUST_USE enum opts_verdict opts_parse(enum conf_mode mode, int argc, char **argv, struct opts *ret_opts);

/* All options of the mode. */
void opts_help(enum conf_mode mode, FILE *f);
void opts_version(enum conf_mode mode, FILE *f);
void opts_capabilities(FILE *f); /* of the vhost-user back end, as its schema wants them (docs/interop/vhost-user.json of QEMU) */
