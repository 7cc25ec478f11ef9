/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/derive.h"
#include "conf/die.h"
#include "conf/follow.h"
#include "os/daemon.h"
#include "os/sock.h"

static enum conf_mode load_mode(char **argv)
{
	enum conf_mode mode;

	if (!argv[0] || opts_mode(argv[0], &mode))
		die("Can't tell the mode from the program's name: it has to be called passt or pasta");
	return mode;
}

static void load_options(enum conf_mode mode, int argc, char **argv, struct opts *o)
{
	switch (opts_parse(mode, argc, argv, o)) {
	case OPTS_RUN:
		return;
	case OPTS_HELP:
		opts_help(mode, stdout);
		exit(EXIT_SUCCESS);
	case OPTS_VERSION:
		opts_version(mode, stdout);
		exit(EXIT_SUCCESS);
	case OPTS_CAPABILITIES:
		opts_capabilities(stdout);
		exit(EXIT_SUCCESS);
	case OPTS_USAGE:
		opts_help(mode, stderr);
		exit(EXIT_FAILURE);
	case OPTS_ERROR:
		break;
	}
	die("%s", o->err);
}

static void load_log_level(const struct opts *o)
{
	if (o->trace)
		log_set_level(LOG_LVL_TRACE);
	else if (o->debug)
		log_set_level(LOG_LVL_DEBUG);
	else if (o->quiet)
		log_set_level(LOG_LVL_WARN);
}

/* Whether a socket that we were given can be the guest's. */
static bool type_fits(const struct opts *o, int type)
{
	if (o->socket_type || o->vhost_user)
		return type == (o->socket_type ? o->socket_type : SOCK_STREAM);
	return type == SOCK_STREAM || type == SOCK_SEQPACKET || type == SOCK_DGRAM;
}

/*
 * The guest's socket to where it is safe, before anything is printed that is not about the options: it may be one of the standard
 * streams. Names the number that the user knows.
 */
static void take_fd(struct opts *o, unsigned passed)
{
	int fd = o->fd, type = 0, err = 0;

	if (fd >= 0)
		err = sock_get_int(fd, SOL_SOCKET, SO_TYPE, &type);
	if (err == -ENOTSOCK || (fd >= 0 && !err && !type_fits(o, type)))
		die("Descriptor %i is not %s (--fd)", fd, o->vhost_user ? "a stream socket" : "a socket of the right type");
	if (fd >= 0 && !err)
		o->socket_type = type;
	if (!err)
		err = daemon_fds_close(&o->fd, PASSED_FIRST + passed);
	if (err)
		die("Descriptor %i: %s (--fd)", fd, strerror(-err));
}

/* Whose the guest's socket is. One that is connected is what --fd would be. */
static void take_passed_guest(struct opts *o, int fd, const struct passed_socket *s)
{
	if (o->mode == CONF_PASTA)
		die("Descriptor %i of the service manager: a UNIX socket for pasta has to have the name \"control\"", fd);
	if (o->socket_path[0] || o->fd >= 0 || o->passed.guest >= 0)
		die("Descriptor %i of the service manager: there is another socket for the guest", fd);
	if (!type_fits(o, s->type))
		die("Descriptor %i of the service manager is not a socket of the right type", fd);
	o->socket_type = s->type;
	if (s->listens || s->type == SOCK_DGRAM)
		o->passed.guest = fd;
	else
		o->fd = fd;
}

static void take_passed_one(struct opts *o, int fd, const struct passed_socket *s)
{
	switch (s->kind) {
	case PASSED_UNIX:
		take_passed_guest(o, fd, s);
		break;
	case PASSED_CONTROL:
		if (o->conf_path[0] || o->passed.control >= 0)
			die("Descriptor %i of the service manager: there is another control socket", fd);
		o->passed.control = fd;
		break;
	case PASSED_PORT:
		o->passed.port[o->passed.ports].fd = fd;
		o->passed.port[o->passed.ports++].at = s->at;
		break;
	}
}

/* How many sockets a service manager has passed: they come first among the descriptors. */
static unsigned take_passed(struct opts *o)
{
	char *names;
	unsigned n;
	int err = passed_count(&n, &names);

	if (err)
		die("Sockets of the service manager (LISTEN_FDS): %s", strerror(-err));
	for (unsigned i = 0; i < n; i++) {
		struct passed_socket s;

		err = passed_look(i, names, &s);
		if (err)
			die("Descriptor %u of the service manager: %s", PASSED_FIRST + i, strerror(-err));
		take_passed_one(o, (int)(PASSED_FIRST + i), &s);
	}
	free(names);
	return n;
}

static void check_ifname(const char *name, const char *opt)
{
	if (name[0] && !if_nametoindex(name))
		die("Invalid interface name: %s (--%s): %s", name, opt, strerror(errno));
}

struct conf_source {
	struct opts o;
	struct discover_opts d; /* points into o */
};

void conf_load(struct conf *c, int argc, char **argv, struct conf_source **ret_source)
{
	enum conf_mode mode = load_mode(argv);
	struct conf_source *s = malloc(sizeof(*s));
	struct host h;
	struct opts *o;
	char err[DERIVE_ERR_LEN];

	if (!s)
		die("No memory");
	o = &s->o;
	load_options(mode, argc, argv, o);
	load_log_level(o);
	take_fd(o, take_passed(o));
	check_ifname(o->ifname, "interface");
	check_ifname(o->if4, "outbound-if4");
	check_ifname(o->if6, "outbound-if6");

	s->d.if4 = o->ifname[0] ? o->ifname : o->if4;
	s->d.if6 = o->ifname[0] ? o->ifname : o->if6;
	s->d.out6 = o->if6;
	s->d.ports_only = o->splice_only;
	discover(&s->d, &h);
	if (derive(o, &h, c, err) || derive_ports(o, &h, c, err))
		die("%s", err);
	*ret_source = s;
}

int conf_again(const struct conf_source *s, const struct conf *c, struct follow *ret_f)
{
	struct conf *now = calloc(1, sizeof(*now));
	struct host h;
	int err;

	if (!now)
		return -ENOMEM;
	now->mode = c->mode;
	now->v4 = c->v4;
	now->v6 = c->v6;
	now->guest = c->guest;
	now->nat = c->nat;
	err = discover_again(&s->d, &h);
	derive_again(&s->o, &h, now);
	follow_get(&now->guest, &now->nat, ret_f);
	free(now);
	return err;
}
