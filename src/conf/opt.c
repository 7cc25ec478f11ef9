/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/num.h"
#include "conf/opt.h"

#define LONG_BASE 256 /* getopt's value of the option at index i is LONG_BASE + i */
#define HELP_COLUMN 36
#define STATS_MAX_S 86400

enum {
	IN_PASST = 1 << CONF_PASST,
	IN_PASTA = 1 << CONF_PASTA,
	IN_BOTH = IN_PASST | IN_PASTA,
};

struct opt;
typedef int opt_fn(struct opts *o, const struct opt *d, const char *val);

/* fn acts on the member at offset off; size and deny are for the functions that need them. */
struct opt {
	const char *name;
	char letter; /* 0: none */
	uint8_t modes;
	const char *arg; /* name of the value in the help; NULL: takes none */
	const char *what; /* what the value is, in "Invalid WHAT: VALUE (--NAME)"; of a deprecated option: its replacement */
	opt_fn *fn; /* NULL: handled by opts_parse() itself */
	size_t off, size;
	unsigned deny; /* enum val_deny */
	uint32_t min, max;
	const char *help;
};

static PRINTF(2, 3) int opt_fail(struct opts *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->err, sizeof(o->err), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void *opt_target(struct opts *o, const struct opt *d)
{
	return (char *)o + d->off;
}

static int opt_set(struct opts *o, const struct opt *d, const char *val)
{
	*(bool *)opt_target(o, d) = true;
	return 0;
}

static int opt_quiet(struct opts *o, const struct opt *d, const char *val)
{
	o->quiet = true;
	o->debug = o->trace = false;
	return 0;
}

static int opt_debug(struct opts *o, const struct opt *d, const char *val)
{
	o->quiet = false;
	return opt_set(o, d, val);
}

static int opt_stderr(struct opts *o, const struct opt *d, const char *val)
{
	log_warn("--stderr will be dropped soon");
	return 0;
}

static int opt_text(struct opts *o, const struct opt *d, const char *val)
{
	return val_text(val, d->size, opt_target(o, d));
}

static int opt_ifname(struct opts *o, const struct opt *d, const char *val)
{
	return val_ifname(val, opt_target(o, d));
}

/* Of an interface that is to be made: not the one that is in every namespace, and no pattern for the kernel to fill in. */
static int opt_ns_ifname(struct opts *o, const struct opt *d, const char *val)
{
	if (!strcmp(val, "lo") || strchr(val, '%'))
		return -EINVAL;
	return opt_ifname(o, d, val);
}

static int opt_name(struct opts *o, const struct opt *d, const char *val)
{
	return val_name(val, strlen(val), opt_target(o, d));
}

static void pair_set(struct opt_pair *p, const struct addr *a)
{
	if (addr_is4(a))
		p->v4 = *a;
	else
		p->v6 = *a;
}

static int opt_addr(struct opts *o, const struct opt *d, const char *val)
{
	struct addr a;

	if (val_addr(val, d->deny, &a))
		return -EINVAL;
	pair_set(opt_target(o, d), &a);
	return 0;
}

static int opt_addr_none(struct opts *o, const struct opt *d, const char *val)
{
	if (strcmp(val, "none"))
		return opt_addr(o, d, val);
	*(struct opt_pair *)opt_target(o, d) = (struct opt_pair){ .none = true };
	return 0;
}

static int opt_address(struct opts *o, const struct opt *d, const char *val)
{
	struct addr a;
	unsigned plen;

	if (val_addr_plen(val, &a, &plen))
		return -EINVAL;
	pair_set(&o->address, &a);
	*(addr_is4(&a) ? &o->plen4 : &o->plen6) = plen;
	return 0;
}

static int opt_netmask(struct opts *o, const struct opt *d, const char *val)
{
	return val_netmask(val, &o->netmask);
}

static int opt_socket(struct opts *o, const struct opt *d, const char *val)
{
	o->fd = -1;
	return opt_text(o, d, val);
}

static int opt_socket_type(struct opts *o, const struct opt *d, const char *val)
{
	static const struct {
		const char *name;
		int type;
	} types[] = { { "stream", SOCK_STREAM }, { "seqpacket", SOCK_SEQPACKET }, { "dgram", SOCK_DGRAM } };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(val, types[i].name))
			continue;
		o->socket_type = types[i].type;
		return 0;
	}
	return -EINVAL;
}

static int opt_fd(struct opts *o, const struct opt *d, const char *val)
{
	o->socket_path[0] = '\0';
	return val_fd(val, &o->fd);
}

static int opt_number(struct opts *o, const struct opt *d, const char *val)
{
	uint64_t n;

	if (num_parse(val, d->min, d->max, &n))
		return opt_fail(o, "Invalid %s: %s (--%s, from %u to %u)", d->what, val, d->name, d->min, d->max);
	*(uint32_t *)opt_target(o, d) = (uint32_t)n;
	return 0;
}

static int opt_log_size(struct opts *o, const struct opt *d, const char *val)
{
	if (val_log_size(val, &o->log_size))
		return opt_fail(o, "Invalid --log-size: %s (minimum %d bytes)", val, VAL_LOG_SIZE_MIN);
	return 0;
}

/* The daemon has no standard output. */
static int opt_stats(struct opts *o, const struct opt *d, const char *val)
{
	uint64_t seconds;

	if (!o->foreground)
		return opt_fail(o, "--stats needs --foreground before it");
	if (num_parse(val, 1, STATS_MAX_S, &seconds))
		return -EINVAL;
	o->stats_s = (unsigned)seconds;
	return 0;
}

static int opt_runas(struct opts *o, const struct opt *d, const char *val)
{
	if (val_runas(val, &o->runas_uid, &o->runas_gid))
		return opt_fail(o, "Invalid --runas option: %s", val);
	o->have_runas = true;
	return 0;
}

static int opt_mtu(struct opts *o, const struct opt *d, const char *val)
{
	int r = val_mtu(val, &o->mtu);

	if (r == -ERANGE)
		return opt_fail(o, "MTU %s too large (max %d)", val, VAL_MTU_MAX);
	o->have_mtu = !r;
	return r;
}

static int opt_mac(struct opts *o, const struct opt *d, const char *val)
{
	return mac_parse(val, opt_target(o, d));
}

static int opt_dns(struct opts *o, const struct opt *d, const char *val)
{
	struct addr a;

	o->have_dns = true;
	if (!strcmp(val, "none")) {
		o->n_dns = 0;
		return 0;
	}
	if (val_addr(val, d->deny, &a))
		return -EINVAL;
	if (o->n_dns == OPTS_DNS_MAX)
		return opt_fail(o, "Too many name servers (max %d): %s (--dns)", OPTS_DNS_MAX, val);
	o->dns[o->n_dns++] = a;
	return 0;
}

/* One word may hold several names: that is how QEMU passes its list. */
static int opt_search(struct opts *o, const struct opt *d, const char *val)
{
	size_t len;

	o->have_search = true;
	if (!strcmp(val, "none")) {
		o->n_search = 0;
		return 0;
	}
	for (val += strspn(val, " "); *val; val += len + strspn(val + len, " ")) {
		len = strcspn(val, " ");
		if (o->n_search == GUESTCONF_SEARCH)
			return opt_fail(o, "Too many search domains (max %d): %s (--search)", GUESTCONF_SEARCH, val);
		if (val_name(val, len, o->search[o->n_search]))
			return opt_fail(o, "Invalid search domain: %.*s (--search)", (int)MIN(len, (size_t)VAL_NAME_MAX), val);
		o->n_search++;
	}
	return 0;
}

static int opt_deprecated(struct opts *o, const struct opt *d, const char *val)
{
	log_warn("--%s will be dropped soon, as %s does the same", d->name, d->what);
	return opt_set(o, d, val);
}

static int opt_port(struct opts *o, const struct opt *d, const char *val)
{
	if (o->n_ports == OPTS_PORTS_MAX)
		return opt_fail(o, "Too many port options (max %d): -%c %s", OPTS_PORTS_MAX, d->letter, val);
	o->port[o->n_ports++] = (struct opt_port){ .spec = val, .letter = d->letter };
	return 0;
}

#define AT(member) .off = offsetof(struct opts, member)
#define FLAG(member) .fn = opt_set, AT(member)
#define TEXT(member) .fn = opt_text, AT(member), .size = sizeof(((struct opts *)0)->member)
#define NUMBER(member, from, to) .fn = opt_number, AT(member), .min = (from), .max = (to)
#define PAIR(member) .fn = opt_addr, AT(member)
#define PAIR_NONE(member) .fn = opt_addr_none, AT(member)

static const struct opt options[] = {
	{ "help", 'h', IN_BOTH, .help = "Show this text and exit" },
	{ "version", 0, IN_BOTH, .help = "Show version, copyright and licence, and exit" },

	{ "quiet", 'q', IN_BOTH, .fn = opt_quiet, .help = "Don't print informational messages" },
	{ "debug", 'd', IN_BOTH, .fn = opt_debug, AT(debug), .help = "Print debugging messages" },
	{ "trace", 0, IN_BOTH, .fn = opt_debug, AT(trace), .help = "Print a line for every frame from the guest as well" },
	{ "foreground", 'f', IN_BOTH, FLAG(foreground), .help = "Don't run in the background" },
	{ "stderr", 'e', IN_BOTH, .fn = opt_stderr,
	  .help = "No effect, to be dropped soon: messages are printed until the start is over" },
	{ "stats", 0, IN_BOTH, "SECONDS", "interval", .fn = opt_stats,
	  .help = "Print counters when they have changed, after SECONDS at the earliest; after --foreground" },
	{ "log-file", 'l', IN_BOTH, "PATH", "log file", TEXT(log_file), .help = "Log to PATH instead of the system logger" },
	{ "log-size", 0, IN_BOTH, "BYTES", "size", .fn = opt_log_size, .help = "Largest size of the log file, default 1 MiB" },
	{ "pid", 'P', IN_BOTH, "PATH", "PID file", TEXT(pid_file), .help = "Write the process ID to PATH when ready" },
	{ "pcap", 'p', IN_BOTH, "PATH", "capture file", TEXT(pcap_file),
	  .help = "Write the guest's traffic to PATH in pcap format" },
	{ "conf-path", 'c', IN_BOTH, "PATH", "control socket path", TEXT(conf_path),
	  .help = "Take requests on a UNIX domain socket at PATH, see pesto(1)" },
	{ "runas", 0, IN_BOTH, "USER", "user", .fn = opt_runas, .help = "Run as UID[:GID] or LOGIN[:GROUP]" },
	{ "chroot-fallback", 0, IN_BOTH, FLAG(chroot_fallback),
	  .help = "Where the root file system can not be moved away, as in an initramfs, hide it by chroot" },

	{ "socket", 's', IN_PASST, "PATH", "socket path", .fn = opt_socket, AT(socket_path), .size = 108,
	  .help = "Listen for the guest on the UNIX domain socket PATH, default: the first free of /tmp/passt_1.socket and so on" },
	{ "socket-path", 0, IN_PASST, "PATH", "socket path", .fn = opt_socket, AT(socket_path), .size = 108,
	  .help = "Same as --socket" },
	{ "socket-type", 0, IN_PASST, "TYPE", "socket type", .fn = opt_socket_type,
	  .help = "stream (default), or one frame a message: seqpacket or dgram; of --fd it is found out" },
	{ "fd", 'F', IN_PASST, "FD", "file descriptor", .fn = opt_fd,
	  .help = "Use FD as a socket that is connected to the guest already; implies --one-off" },
	{ "vhost-user", 0, IN_PASST, FLAG(vhost_user),
	  .help = "Speak vhost-user on the socket, and work in the guest's own memory" },
	{ "print-capabilities", 0, IN_PASST, .help = "Show what the vhost-user back end can do, in JSON, and exit" },
	{ "repair-path", 0, IN_PASST, "PATH", "repair socket path", TEXT(repair_path),
	  .help = "No effect: connections do not survive a migration; \"none\" says that this is known" },
	{ "migrate-exit", 0, IN_PASST, FLAG(migrate), .help = "No effect, for the same reason" },
	{ "migrate-no-linger", 0, IN_PASST, FLAG(migrate), .help = "No effect, for the same reason" },
	{ "one-off", '1', IN_PASST, FLAG(one_off), .help = "Quit when the guest closes the connection" },

	{ "ipv4-only", '4', IN_BOTH, FLAG(v4_only), .help = "No IPv6" },
	{ "ipv6-only", '6', IN_BOTH, FLAG(v6_only), .help = "No IPv4" },
	{ "mtu", 'm', IN_BOTH, "MTU", "MTU", .fn = opt_mtu,
	  .help = "MTU of the guest's interface, default 65520; 0: leave it as it is" },
	{ "address", 'a', IN_BOTH, "ADDR[/LENGTH]", "address", .fn = opt_address,
	  .help = "Guest's IPv4 or IPv6 address, default: that of the host's interface" },
	{ "netmask", 'n', IN_BOTH, "MASK", "netmask", .fn = opt_netmask,
	  .help = "Guest's IPv4 mask, dotted or as a prefix length" },
	{ "mac-addr", 'M', IN_BOTH, "MAC", "MAC address", .fn = opt_mac, AT(our_mac),
	  .help = "MAC address that the guest sees, default 9a:55:9a:55:9a:55" },
	{ "gateway", 'g', IN_BOTH, "ADDR", "gateway", PAIR(gateway), .deny = VAL_DENY_ALL,
	  .help = "Guest's IPv4 or IPv6 gateway, default: the host's" },
	{ "interface", 'i', IN_BOTH, "NAME", "interface name", .fn = opt_ifname, AT(ifname),
	  .help = "Interface to take addresses and routes from, default: that of the default route" },
	{ "outbound", 'o', IN_BOTH, "ADDR", "address", PAIR(outbound), .deny = VAL_DENY_MULTI,
	  .help = "Source address of outbound connections, default: the kernel's choice" },
	{ "outbound-if4", 0, IN_BOTH, "NAME", "interface name", .fn = opt_ifname, AT(if4),
	  .help = "Bind outbound IPv4 to this interface" },
	{ "outbound-if6", 0, IN_BOTH, "NAME", "interface name", .fn = opt_ifname, AT(if6),
	  .help = "Bind outbound IPv6 to this interface" },

	{ "dns", 'D', IN_BOTH, "ADDR", "name server", .fn = opt_dns, .deny = VAL_DENY_ANY | VAL_DENY_MULTI,
	  .help = "Name server for the guest, may be repeated; \"none\" for none; default: those of the host" },
	{ "search", 'S', IN_BOTH, "DOMAINS", "search domain", .fn = opt_search,
	  .help = "Domain search list for the guest, may be repeated; \"none\" for none; default: that of the host" },
	{ "dns-forward", 0, IN_BOTH, "ADDR", "address", PAIR(dns_forward), .deny = VAL_DENY_ALL,
	  .help = "Send the guest's name queries to ADDR to the host's resolver" },
	{ "dns-host", 0, IN_BOTH, "ADDR", "address", PAIR(dns_host), .deny = VAL_DENY_ANY | VAL_DENY_MULTI,
	  .help = "Resolver for queries to --dns-forward, default: the host's first" },
	{ "hostname", 'H', IN_BOTH, "NAME", "host name", .fn = opt_name, AT(hostname), .help = "Host name for the guest" },
	{ "fqdn", 0, IN_BOTH, "NAME", "domain name", .fn = opt_name, AT(fqdn),
	  .help = "Fully qualified domain name for the guest" },

	{ "no-tcp", 0, IN_BOTH, FLAG(no_tcp), .help = "No TCP" },
	{ "no-udp", 0, IN_BOTH, FLAG(no_udp), .help = "No UDP" },
	{ "no-icmp", 0, IN_BOTH, FLAG(no_icmp), .help = "No ICMP and ICMPv6 echo" },
	{ "no-dhcp", 0, IN_BOTH, FLAG(no_dhcp), .help = "No DHCP server" },
	{ "no-dhcpv6", 0, IN_BOTH, FLAG(no_dhcpv6), .help = "No DHCPv6 server" },
	{ "no-ndp", 0, IN_BOTH, FLAG(no_ndp), .help = "No answers to neighbour and router solicitations" },
	{ "no-ra", 0, IN_BOTH, FLAG(no_ra), .help = "No router advertisements" },
	{ "no-dhcp-dns", 0, IN_PASST, FLAG(no_dhcp_dns), .help = "Don't tell the guest about name servers" },
	{ "no-dhcp-search", 0, IN_PASST, FLAG(no_dhcp_search), .help = "Don't tell the guest about search domains" },

	{ "no-map-gw", 0, IN_BOTH, FLAG(no_map_gw), .help = "Don't map the gateway's address to the host's loopback" },
	{ "map-host-loopback", 0, IN_BOTH, "ADDR", "address", PAIR_NONE(map_loopback), .deny = VAL_DENY_ALL,
	  .help = "Address by which the guest reaches the host's loopback, default: the gateway's; \"none\" for none" },
	{ "map-guest-addr", 0, IN_BOTH, "ADDR", "address", PAIR_NONE(map_guest), .deny = VAL_DENY_ALL,
	  .help = "Address by which the guest reaches the host's own address, default \"none\"" },

	{ "max-flows", 0, IN_BOTH, "NUMBER", "number of flows", NUMBER(limits.flows, 16, OPTS_FLOWS_MAX),
	  .help = "Connections and other flows at once, default 65536, or what the limit of open files allows" },
	{ "max-half-open", 0, IN_BOTH, "NUMBER", "number of connections", NUMBER(limits.half_open, 1, OPTS_FLOWS_MAX),
	  .help = "Connections that wait for their first answer at once, default: half of the flows" },
	{ "max-flow-rate", 0, IN_BOTH, "NUMBER", "number of flows", NUMBER(limits.flow_rate, 1, OPTS_RATE_MAX),
	  .help = "Flows that the guest may begin a second, default: any number" },
	{ "max-spill", 0, IN_BOTH, "BYTES", "size", NUMBER(limits.spill, OPTS_SPILL_MIN, OPTS_SPILL_MAX),
	  .help = "Memory for data that slow TCP connections don't take at once, default 128 MiB" },
	{ "max-reassembly", 0, IN_BOTH, "BYTES", "size", NUMBER(limits.reassembly, OPTS_REASSEMBLY_MIN, OPTS_REASSEMBLY_MAX),
	  .help = "Memory for fragments of the guest, default 1 MiB" },

	{ "tcp-ports", 't', IN_BOTH, "SPEC", "port specifier", .fn = opt_port,
	  .help = "Forward TCP ports to the guest, may be repeated" },
	{ "udp-ports", 'u', IN_BOTH, "SPEC", "port specifier", .fn = opt_port,
	  .help = "Forward UDP ports to the guest, may be repeated" },

	{ "freebind", 0, IN_BOTH, FLAG(freebind), .help = "Forward from addresses that the host does not have, too" },

	{ "ns-ifname", 'I', IN_PASTA, "NAME", "interface name", .fn = opt_ns_ifname, AT(ns_ifname),
	  .help = "Name of the interface in the namespace, default: that of the host's interface" },
	{ "ns-mac-addr", 0, IN_PASTA, "MAC", "MAC address", .fn = opt_mac, AT(ns_mac),
	  .help = "MAC address of the interface in the namespace, default: the kernel's choice" },
	{ "tcp-ns", 'T', IN_PASTA, "SPEC", "port specifier", .fn = opt_port,
	  .help = "Forward TCP ports of the namespace to the host, may be repeated" },
	{ "udp-ns", 'U', IN_PASTA, "SPEC", "port specifier", .fn = opt_port,
	  .help = "Forward UDP ports of the namespace to the host, may be repeated" },
	{ "netns", 0, IN_PASTA, "PATH|NAME", "network namespace", TEXT(netns),
	  .help = "Join the network namespace at PATH, or NAME in /run/netns" },
	{ "userns", 0, IN_PASTA, "PATH", "user namespace", TEXT(userns), .help = "Join the user namespace at PATH first" },
	{ "netns-only", 0, IN_PASTA, FLAG(netns_only), .help = "Don't join or create a user namespace" },
	{ "no-pidns", 0, IN_PASTA, FLAG(no_pidns), .help = "Leave the command in the PID namespace that it is started from" },
	{ "no-netns-quit", 0, IN_PASTA, FLAG(no_netns_quit), .help = "Don't quit when the path of the namespace is gone" },
	{ "config-net", 0, IN_PASTA, FLAG(config_net), .help = "Configure the interface in the namespace" },
	{ "no-copy-routes", 0, IN_PASTA, .what = "--gateway", .fn = opt_deprecated, AT(no_copy_routes),
	  .help = "With --config-net: don't copy routes; to be dropped soon" },
	{ "no-copy-addrs", 0, IN_PASTA, .what = "--address", .fn = opt_deprecated, AT(no_copy_addrs),
	  .help = "With --config-net: don't copy addresses; to be dropped soon" },
	{ "dhcp-dns", 0, IN_PASTA, FLAG(dhcp_dns), .help = "Tell the namespace about name servers" },
	{ "dhcp-search", 0, IN_PASTA, FLAG(dhcp_search), .help = "Tell the namespace about search domains" },
	{ "host-lo-to-ns-lo", 0, IN_PASTA, FLAG(host_lo_to_ns_lo),
	  .help = "Take what comes from the host's loopback to the namespace's loopback, not its address" },
	{ "splice-only", 0, IN_PASTA, FLAG(splice_only),
	  .help = "Nothing but forwarded ports between loopback addresses: no interface; implies --host-lo-to-ns-lo" },
	{ "no-handover", 0, IN_PASTA, FLAG(no_handover), .help = "Take the data of all TCP connections through a tap device" },
	{ "no-splice", 0, IN_BOTH, FLAG(no_splice),
	  .help = "Take forwarded ports from the host's loopback to the guest's interface, too: what passt does anyway" },
};

static const char *mode_name(enum conf_mode mode)
{
	return mode == CONF_PASTA ? "pasta" : "passt";
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int opts_mode(const char *argv0, enum conf_mode *ret_mode)
{
	const char *name = base_name(argv0);

	if (strstr(name, "pasta"))
		*ret_mode = CONF_PASTA;
	else if (strstr(name, "passt"))
		*ret_mode = CONF_PASST;
	else
		return -EINVAL;
	return 0;
}

/* What getopt_long(3) wants to know. */
struct getopt_args {
	struct option longs[ARRAY_SIZE(options) + 1];
	char shorts[2 * ARRAY_SIZE(options) + 2]; /* '+', a letter and a colon each, NUL */
};

static void getopt_args_init(struct getopt_args *g)
{
	char *s = g->shorts;

	memset(g, 0, sizeof(*g));
	*s++ = '+';
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct opt *d = &options[i];

		g->longs[i] = (struct option){ d->name, d->arg ? required_argument : no_argument, NULL, LONG_BASE + (int)i };
		if (!d->letter)
			continue;
		*s++ = d->letter;
		if (d->arg)
			*s++ = ':';
	}
}

static const struct opt *opt_find(int val)
{
	if (val >= LONG_BASE)
		return &options[val - LONG_BASE];
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].letter && options[i].letter == val)
			return &options[i];
	}
	return NULL;
}

static int opt_handle(struct opts *o, const struct opt *d, const char *val)
{
	enum conf_mode other = o->mode == CONF_PASST ? CONF_PASTA : CONF_PASST;
	int r;

	if (!(d->modes & 1 << o->mode))
		return opt_fail(o, "--%s is for %s mode only", d->name, mode_name(other));
	r = d->fn(o, d, val);
	if (r && !o->err[0])
		return opt_fail(o, "Invalid %s: %s (--%s)", d->what, val, d->name);
	return r;
}

/*
 * An address of a family that is off. Not those of which programs that start us give one by default, whatever the families are:
 * --dns-forward, --dns-host and --map-*.
 */
static int families_check(struct opts *o)
{
	const struct {
		const char *name;
		const struct opt_pair *pair;
	} used[] = { { "address", &o->address }, { "gateway", &o->gateway }, { "outbound", &o->outbound } };
	static const struct addr unset;
	char buf[ADDR_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(used) && (o->v4_only || o->v6_only); i++) {
		const struct addr *off = o->v4_only ? &used[i].pair->v6 : &used[i].pair->v4;

		if (!addr_eq(off, &unset))
			return opt_fail(o, "Option --%s %s is for %s, which --%s turns off", used[i].name, addr_fmt(off, buf),
					o->v4_only ? "IPv6" : "IPv4", o->v4_only ? "ipv4-only" : "ipv6-only");
	}
	return 0;
}

/* What only vhost-user guests can do, of which nothing is carried over: told, unless the caller knows. */
static int migration_check(struct opts *o)
{
	const char *name = o->repair_path[0] ? "repair-path" : "migrate-*";

	if (!o->repair_path[0] && !o->migrate)
		return 0;
	if (!o->vhost_user)
		return opt_fail(o, "--%s needs --vhost-user", name);
	if (o->migrate || strcmp(o->repair_path, "none"))
		log_warn("Connections do not survive a migration of the guest: --%s has no effect", name);
	return 0;
}

static int opts_check(struct opts *o)
{
	if (o->v4_only && o->v6_only)
		return opt_fail(o, "Options --ipv4-only and --ipv6-only exclude each other");
	if (o->vhost_user && o->socket_type && o->socket_type != SOCK_STREAM)
		return opt_fail(o, "--vhost-user takes a stream socket (--socket-type)");
	if (o->plen4 && o->netmask)
		return opt_fail(o, "Redundant prefix length specification (--address, --netmask)");
	if (o->no_copy_routes && !o->config_net)
		return opt_fail(o, "--no-copy-routes needs --config-net");
	if (o->no_copy_addrs && !o->config_net)
		return opt_fail(o, "--no-copy-addrs needs --config-net");
	if (o->splice_only && o->no_splice)
		return opt_fail(o, "Options --splice-only and --no-splice exclude each other");
	if (o->userns[0] && o->netns_only)
		return opt_fail(o, "Options --userns and --netns-only exclude each other");
	if (o->userns[0] && o->spawn)
		return opt_fail(o, "--userns needs --netns or a process");
	if (migration_check(o))
		return -EINVAL;
	return families_check(o);
}

/* What the words after the options mean. */
static int opts_words(struct opts *o, int n, char *const *words)
{
	uint64_t pid;

	if (o->mode == CONF_PASST)
		return n ? opt_fail(o, "Extra non-option argument: %s", words[0]) : 0;
	if (n && o->netns[0])
		return opt_fail(o, "Both --netns and a process or command: %s", words[0]);
	if (n == 1 && words[0][0] && !words[0][strspn(words[0], "0123456789")]) {
		if (num_parse(words[0], 1, INT_MAX, &pid))
			return opt_fail(o, "Invalid process: %s", words[0]);
		o->pid = (pid_t)pid;
		return 0;
	}
	if (n)
		o->command = words;
	o->spawn = !o->netns[0];
	if (!o->spawn)
		return 0;
	o->foreground = true;
	o->quiet = !o->debug && !o->trace;
	return 0;
}

static void opts_init(struct opts *o, enum conf_mode mode, const char *argv0)
{
	memset(o, 0, sizeof(*o));
	o->mode = mode;
	o->vhost_user = o->foreground = mode == CONF_PASST && strstr(base_name(argv0), "vhost-user");
	o->fd = o->passed.guest = o->passed.control = -1;
	o->log_size = OPTS_LOG_SIZE;
	o->limits = (struct conf_limits){ .spill = OPTS_SPILL, .reassembly = OPTS_REASSEMBLY };
}

enum opts_verdict opts_parse(enum conf_mode mode, int argc, char **argv, struct opts *ret_opts)
{
	struct getopt_args g;
	int val;

	opts_init(ret_opts, mode, argv[0]);
	getopt_args_init(&g);
	optind = 0; /* a fresh start, also for the GNU extensions */
	while ((val = getopt_long(argc, argv, g.shorts, g.longs, NULL)) != -1) {
		const struct opt *d = opt_find(val);

		if (!d)
			return OPTS_USAGE;
		if (d == opt_find('h'))
			return OPTS_HELP;
		if (!strcmp(d->name, "version"))
			return OPTS_VERSION;
		if (!strcmp(d->name, "print-capabilities") && mode == CONF_PASST)
			return OPTS_CAPABILITIES;
		if (opt_handle(ret_opts, d, optarg))
			return OPTS_ERROR;
	}
	if (opts_words(ret_opts, argc - optind, argv + optind))
		return OPTS_ERROR;
	return opts_check(ret_opts) ? OPTS_ERROR : OPTS_RUN;
}

void opts_help(enum conf_mode mode, FILE *f)
{
	if (mode == CONF_PASST)
		fputs("Usage: passt [OPTION]...\n\n", f);
	else
		fputs("Usage: pasta [OPTION]... [COMMAND [ARGUMENT]...]\n"
		      "       pasta [OPTION]... PROCESS\n"
		      "       pasta [OPTION]... --netns PATH|NAME\n\n",
		      f);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct opt *d = &options[i];
		int n;

		if (!(d->modes & 1 << mode) || !d->help)
			continue;
		n = d->letter ? fprintf(f, "  -%c, --%s", d->letter, d->name) : fprintf(f, "      --%s", d->name);
		if (d->arg)
			n += fprintf(f, " %s", d->arg);
		fprintf(f, "%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", d->help);
	}
	fprintf(f,
		"\nSPEC: none or [[ADDR][%%NAME]/]ITEM[,ITEM]..., default %s; ITEM: all, %sPORT[-PORT][:PORT[-PORT]], ~PORT[-PORT]; see %s(1)\n",
		mode == CONF_PASTA ? "auto" : "none", mode == CONF_PASTA ? "auto, " : "", mode_name(mode));
	if (mode == CONF_PASTA)
		fputs("The guest is whatever runs in the namespace.\n", f);
}

void opts_version(enum conf_mode mode, FILE *f)
{
	fprintf(f,
		"%s %s\n"
		"Copyright (c) 2026 the passt authors\n"
		"MIT licence: <https://spdx.org/licenses/MIT.html>\n"
		"This is free software: you are free to change and redistribute it. There is no warranty, as far as the law permits.\n",
		mode_name(mode), VERSION);
}

void opts_capabilities(FILE *f)
{
	/* There are no features for network cards. */
	fputs("{\n  \"type\": \"net\",\n  \"features\": []\n}\n", f);
}
