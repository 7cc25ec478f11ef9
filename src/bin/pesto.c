/* SPDX-License-Identifier: MIT */
/* pesto: looks at, and changes, a passt or pasta that runs, over its control socket (docs/control.md); pesto(1). */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bin/pesto_cmd.h"
#include "ctl/path.h"
#include "ctl/plan.h"

/* What the words ask for. */
struct wish {
	json_t *steps;
	bool adding, deleting; /* -A, -D was the last of both; none: tables are replaced */
	bool cleared[CTL_TABLES];
	bool debug, show;
	struct ctl_path path; /* of the UNIX socket that a new rule has */
};

static struct ctl_client client = { .fd = -1 };

void pesto_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

void pesto_usage(FILE *f)
{
	fputs("Usage: pesto [OPTION]... PATH\n"
	      "       pesto flows [--watch] [--json] PATH\n"
	      "       pesto stats [--json | --prometheus] PATH\n"
	      "       pesto capture PATH FILE\n"
	      "       pesto capture --stop PATH\n"
	      "       pesto events PATH\n"
	      "\n"
	      "Show or change the forwarding rules of the passt or pasta that was started with --conf-path PATH.\n"
	      "\n"
	      "  -A, --add            Specifiers that follow are added\n"
	      "  -D, --delete         Specifiers that follow are taken out\n"
	      "  -C, --clear TABLE    Take out all rules of a table: HOST (of -t, -u) or SPLICE (of -T, -U)\n"
	      "  -t, --tcp-ports SPEC TCP ports to the guest; without -A or -D, instead of all that HOST has\n"
	      "  -u, --udp-ports SPEC UDP ports to the guest, likewise\n"
	      "  -T, --tcp-ns SPEC    TCP ports of the namespace to the host; without -A or -D, instead of all that SPLICE has\n"
	      "  -U, --udp-ns SPEC    UDP ports of the namespace to the host, likewise\n"
	      "  -s, --show           Show rules before and after a change\n"
	      "  -d, --debug          Show what is sent and received\n"
	      "  -h, --help           Show this text and exit\n"
	      "      --version        Show version and exit\n"
	      "\n"
	      "SPEC: as of passt(1) and pasta(1).\n",
	      f);
}

/* --- the conversation --- */

void pesto_connect(struct ctl_client *c, const char *path)
{
	int err = ctl_client_open(c, path);

	if (err)
		pesto_die("Couldn't connect to %s: %s", path, strerror(-err));
}

json_t *pesto_ask(struct ctl_client *c, const char *what, json_t *members, int fd)
{
	json_t *request = members ? members : json_object(), *reply;
	int err = json_object_set_new(request, "do", json_string(what)) ? -ENOMEM : ctl_client_send(c, request, fd);

	json_decref(request);
	if (!err)
		err = ctl_client_recv(c, &reply);
	if (err)
		pesto_die("No reply to %s: %s", what, err == -EPIPE ? "the other side has ended" : strerror(-err));
	return reply;
}

static const char *text_of(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "?";
}

json_t *pesto_get(struct ctl_client *c, const char *what, json_t *members, int fd)
{
	json_t *reply = pesto_ask(c, what, members, fd);

	if (!json_is_true(json_object_get(reply, "ok")))
		pesto_die("%s", text_of(reply, "message"));
	return reply;
}

/* --- rules --- */

static void rules_print(const json_t *forwards, const char *table, const char *title)
{
	bool first = true;
	size_t i;
	json_t *f;

	json_array_foreach(forwards, i, f)
	{
		if (strcmp(text_of(f, "table"), table))
			continue;
		if (first)
			printf("%s:\n", title);
		first = false;
		printf("    %s %s", strcmp(text_of(f, "proto"), "udp") ? "TCP" : "UDP", text_of(f, "spec"));
		if (!strcmp(text_of(f, "state"), "bound"))
			printf("\n");
		else
			printf(" (%" JSON_INTEGER_FORMAT " open)\n", json_integer_value(json_object_get(f, "bound")));
	}
}

static void show(const char *title, const char *path)
{
	json_t *reply = pesto_get(&client, "forwards", NULL, -1);
	const json_t *forwards = json_object_get(reply, "forwards");

	printf("%s (%s)\n", title, path);
	rules_print(forwards, "in", "Inbound forwarding rules (HOST)");
	rules_print(forwards, "out", "Outbound forwarding rules (SPLICE)");
	json_decref(reply);
}

/* In the words that a start has for the same failure. */
static void failure_print(const struct wish *w, const json_t *r)
{
	const char *spec = text_of(r, "spec"), *slash = strchr(spec, '/');
	bool in = !strcmp(text_of(r, "table"), "in"), udp = !strcmp(text_of(r, "proto"), "udp");
	bool unsent = !strcmp(text_of(r, "errno"), "EBADF") && w->path.err;

	if (unsent || spec[0] == '/') {
		fprintf(stderr, "Listen failed for %s TCP port %s: %s\n", in ? "HOST" : "SPLICE", spec,
			unsent ? strerror(-w->path.err) : text_of(r, "reason"));
		return;
	}
	fprintf(stderr, "Listen failed for %s %s port %.*s/%" JSON_INTEGER_FORMAT ": %s\n", in ? "HOST" : "SPLICE",
		udp ? "UDP" : "TCP", (int)(slash ? slash - spec : 0), spec, json_integer_value(json_object_get(r, "port")),
		text_of(r, "reason"));
}

/* Nobody listens any more on the socket of a rule that has gone. */
static void socket_remove(const struct wish *w, const json_t *r)
{
	int err = strcmp(text_of(r, "verdict"), "removed") || strcmp(text_of(r, "table"), "in")
			  ? 0
			  : ctl_path_remove(&w->path, text_of(r, "spec"));

	if (err)
		fprintf(stderr, "The socket of %s stays: %s\n", text_of(r, "spec"), strerror(-err));
}

/* Not before there is somebody to send it to: what was made in vain would stay. */
static void path_open(struct wish *w)
{
	json_t *step;
	size_t i;

	json_array_foreach(w->steps, i, step)
	{
		const json_t *add = json_object_get(step, "add");
		bool out = !strcmp(text_of(add, "table"), "out");

		if (!add || strcmp(text_of(add, "proto"), "tcp") || !ctl_path_open(&w->path, text_of(add, "spec"), out))
			continue;
		ctl_path_close(&w->path, false);
		pesto_die("Only one UNIX socket can be added at a time: %s", text_of(add, "spec"));
	}
}

static bool change(struct wish *w)
{
	json_t *reply, *r;
	bool ok;
	size_t i;

	path_open(w);
	reply = pesto_ask(&client, "change", json_pack("{s:O}", "steps", w->steps), w->path.fd);
	ok = json_is_true(json_object_get(reply, "ok"));
	ctl_path_close(&w->path, ok);
	json_array_foreach(json_object_get(reply, "results"), i, r)
	{
		if (json_object_get(r, "errno"))
			failure_print(w, r);
		else if (ok)
			socket_remove(w, r);
	}
	if (!ok)
		fprintf(stderr, "%s\n", text_of(reply, "message"));
	json_decref(reply);
	return ok;
}

static void step_put(struct wish *w, json_t *step)
{
	if (!step || json_array_append_new(w->steps, step))
		pesto_die("Not enough memory");
}

static void clear(struct wish *w, enum ctl_table t)
{
	w->cleared[t] = true;
	step_put(w, json_pack("{s:s}", "clear", ctl_table_name(t)));
}

/* The first specifier of a table replaces what it has, unless rules were to be added or taken out one by one. */
static void spec(struct wish *w, char letter, const char *text)
{
	enum ctl_table t = letter == 'T' || letter == 'U' ? CTL_OUT : CTL_IN;
	const char *proto = letter == 't' || letter == 'T' ? "tcp" : "udp";

	if (!w->adding && !w->deleting && !w->cleared[t])
		clear(w, t);
	step_put(w, json_pack("{s:{s:s, s:s, s:s}}", w->deleting ? "remove" : "add", "table", ctl_table_name(t), "proto", proto,
			      "spec", text));
	if (w->debug)
		fprintf(stderr, "%s: %s %s\n", w->deleting ? "Delete" : "Add", proto, text);
}

static void clear_named(struct wish *w, const char *name)
{
	if (!strcmp(name, "HOST"))
		clear(w, CTL_IN);
	else if (!strcmp(name, "SPLICE"))
		clear(w, CTL_OUT);
	else
		pesto_die("No table %s: it is HOST or SPLICE", name);
}

static void option(struct wish *w, int val)
{
	switch (val) {
	case 'A':
	case 'D':
		w->adding = val == 'A';
		w->deleting = val == 'D';
		break;
	case 'C':
		clear_named(w, optarg);
		break;
	case 't':
	case 'u':
	case 'T':
	case 'U':
		spec(w, (char)val, optarg);
		break;
	case 's':
		w->show = true;
		break;
	case 'd':
		w->debug = true;
		break;
	case 'h':
		pesto_usage(stdout);
		exit(EXIT_SUCCESS);
	case 'V':
		puts("pesto " VERSION "\n"
		     "Copyright (c) 2026 the passt authors\n"
		     "MIT licence: <https://spdx.org/licenses/MIT.html>");
		exit(EXIT_SUCCESS);
	default:
		pesto_usage(stderr);
		exit(EXIT_FAILURE);
	}
}

static int rules(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "add", no_argument, NULL, 'A' },
		{ "delete", no_argument, NULL, 'D' },
		{ "clear", required_argument, NULL, 'C' },
		{ "tcp-ports", required_argument, NULL, 't' },
		{ "udp-ports", required_argument, NULL, 'u' },
		{ "tcp-ns", required_argument, NULL, 'T' },
		{ "udp-ns", required_argument, NULL, 'U' },
		{ "show", no_argument, NULL, 's' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL },
	};
	struct wish w = { .steps = json_array(), .path = CTL_PATH_NONE };
	const char *path;
	bool ok = true;
	int val;

	while ((val = getopt_long(argc, argv, "ADC:t:u:T:U:sdh", longs, NULL)) != -1)
		option(&w, val);
	if (optind != argc - 1) {
		fprintf(stderr, optind < argc ? "Extra non-option argument: %s\n" : "The path of a control socket is missing%s\n",
			optind < argc ? argv[optind + 1] : "");
		pesto_usage(stderr);
		return EXIT_FAILURE;
	}
	path = argv[optind];
	pesto_connect(&client, path);
	if (!json_array_size(w.steps)) {
		show("passt/pasta configuration", path);
	} else {
		if (w.show)
			show("Previous configuration", path);
		ok = change(&w);
		if (w.show)
			show("Updated configuration", path);
	}
	json_decref(w.steps);
	ctl_client_close(&client);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(int argc, char **argv);
	} command[] = {
		{ "flows", pesto_flows },
		{ "stats", pesto_stats },
		{ "capture", pesto_capture },
		{ "events", pesto_events },
	};

	/* A word alone is a path. */
	for (size_t i = 0; argc > 2 && i < ARRAY_SIZE(command); i++) {
		if (!strcmp(argv[1], command[i].name))
			return command[i].fn(argc - 1, argv + 1);
	}
	return rules(argc, argv);
}
