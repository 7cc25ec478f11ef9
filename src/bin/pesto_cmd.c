/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "bin/pesto_cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCH_S 1
#define EP_WIDTH 64
#define CLEAR_SCREEN "\033[H\033[2J"

static struct ctl_client client = { .fd = -1 };

/* Options without values; each sets its own bit. Returns them, and that n words are left behind optind. */
static unsigned flags(int argc, char **argv, const struct option *longs, int n)
{
	unsigned bits = 0;
	int val;

	while ((val = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (val == '?') {
			pesto_usage(stderr);
			exit(EXIT_FAILURE);
		}
		bits |= (unsigned)val;
	}
	if (argc - optind != n) {
		pesto_usage(stderr);
		exit(EXIT_FAILURE);
	}
	return bits;
}

static void json_print(const json_t *j)
{
	if (json_dumpf(j, stdout, JSON_COMPACT) || fputc('\n', stdout) == EOF || fflush(stdout))
		exit(EXIT_FAILURE);
}

/* --- flows --- */

/* "address port", as ss(8) has it; "-" if it is not known. */
static const char *ep_text(const json_t *flow, const char *name, char buf[EP_WIDTH])
{
	const json_t *ep = json_object_get(flow, name);
	const char *addr = json_string_value(json_array_get(ep, 0));
	int port = (int)json_integer_value(json_array_get(ep, 1));

	if (!addr)
		return "-";
	snprintf(buf, EP_WIDTH, strchr(addr, ':') ? "[%s]:%i" : "%s:%i", addr, port);
	return buf;
}

/* Bytes in four characters or so. */
static const char *size_text(const json_t *flow, const char *dir, char buf[16])
{
	json_int_t n = json_integer_value(json_object_get(json_object_get(flow, dir), "bytes"));
	const char *unit = "BKMGTP";
	double v = (double)n;

	while (v >= 9999 && unit[1]) {
		v /= 1024;
		unit++;
	}
	snprintf(buf, 16, "%.0f%c", v, *unit);
	return buf;
}

static const char *member(const json_t *flow, const char *name)
{
	const char *s = json_string_value(json_object_get(flow, name));

	return s ? s : "?";
}

static void flow_print(const json_t *f)
{
	char guest[EP_WIDTH], remote[EP_WIDTH], host[EP_WIDTH], peer[EP_WIDTH], out[16], in[16], rtt[16] = "-";
	const json_t *us = json_object_get(f, "rtt_us");

	if (us)
		snprintf(rtt, sizeof(rtt), "%.1f", (double)json_integer_value(us) / 1000);
	printf("%-4s %-12s %-5s %-24s %-24s %-24s %-24s %8.1f %6s %6s %7s %4" JSON_INTEGER_FORMAT "\n", member(f, "proto"),
	       member(f, "state"), member(f, "from"), ep_text(f, "guest", guest), ep_text(f, "remote", remote),
	       ep_text(f, "host", host), ep_text(f, "peer", peer), (double)json_integer_value(json_object_get(f, "age_ms")) / 1000,
	       size_text(f, "to_host", out), size_text(f, "to_guest", in), rtt, json_integer_value(json_object_get(f, "rexmit")));
}

/* All pages. */
static void flows_print(bool as_json)
{
	json_t *next = json_integer(0);

	if (!as_json)
		printf("%-4s %-12s %-5s %-24s %-24s %-24s %-24s %8s %6s %6s %7s %4s\n", "", "STATE", "FROM", "GUEST", "REMOTE",
		       "HOST", "PEER", "AGE s", "OUT", "IN", "RTT ms", "LOST");
	while (json_is_integer(next)) {
		json_t *page = pesto_get(&client, "flows", json_pack("{s:o}", "from", next), -1), *f;
		size_t i;

		json_array_foreach(json_object_get(page, "flows"), i, f)
		{
			if (as_json)
				json_print(f);
			else
				flow_print(f);
		}
		next = json_incref(json_object_get(page, "next"));
		json_decref(page);
	}
	json_decref(next);
}

int pesto_flows(int argc, char **argv)
{
	enum { WATCH = 1, JSON = 2 };
	static const struct option longs[] = {
		{ "watch", no_argument, NULL, WATCH },
		{ "json", no_argument, NULL, JSON },
		{ NULL },
	};
	unsigned set = flags(argc, argv, longs, 1);

	pesto_connect(&client, argv[optind]);
	flows_print(set & JSON);
	while (set & WATCH && !fflush(stdout)) {
		sleep(WATCH_S);
		if (isatty(STDOUT_FILENO))
			fputs(CLEAR_SCREEN, stdout);
		flows_print(set & JSON);
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- stats --- */

static void stats_print(const json_t *reply, const char *group, const char *type)
{
	json_t *values = json_object_get(reply, group), *v;
	const char *name;

	json_object_foreach(values, name, v)
	{
		if (type)
			printf("# TYPE passt_%s %s\npasst_%s %" JSON_INTEGER_FORMAT "\n", name, type, name, json_integer_value(v));
		else
			printf("%-24s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(v));
	}
}

int pesto_stats(int argc, char **argv)
{
	enum { JSON = 1, PROMETHEUS = 2 };
	static const struct option longs[] = {
		{ "json", no_argument, NULL, JSON },
		{ "prometheus", no_argument, NULL, PROMETHEUS },
		{ NULL },
	};
	unsigned set = flags(argc, argv, longs, 1);
	json_t *reply;

	if (set == (JSON | PROMETHEUS))
		pesto_die("Options --json and --prometheus exclude each other");
	pesto_connect(&client, argv[optind]);
	reply = pesto_get(&client, "counters", NULL, -1);
	if (set == JSON) {
		(void)json_object_del(reply, "ok");
		json_print(reply);
	} else {
		stats_print(reply, "gauges", set ? "gauge" : NULL);
		stats_print(reply, "counters", set ? "counter" : NULL);
	}
	json_decref(reply);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- capture, events --- */

int pesto_capture(int argc, char **argv)
{
	static const struct option longs[] = { { "stop", no_argument, NULL, 1 }, { NULL } };
	bool stop = argc > 1 && !strncmp(argv[1], "--s", 3);
	const char *file;
	int fd = -1;

	(void)flags(argc, argv, longs, stop ? 1 : 2);
	pesto_connect(&client, argv[optind]);
	if (!stop) {
		file = argv[optind + 1];
		fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			pesto_die("Couldn't open %s: %s", file, strerror(errno));
	}
	json_decref(pesto_get(&client, "capture", json_pack("{s:s}", "action", stop ? "stop" : "start"), fd));
	return EXIT_SUCCESS;
}

int pesto_events(int argc, char **argv)
{
	static const struct option longs[] = { { NULL } };
	json_t *event;
	int err;

	(void)flags(argc, argv, longs, 1);
	pesto_connect(&client, argv[optind]);
	json_decref(pesto_get(&client, "subscribe", NULL, -1));
	while (!(err = ctl_client_recv(&client, &event))) {
		json_print(event);
		json_decref(event);
	}
	if (err != -EPIPE)
		pesto_die("Events end here: %s", strerror(-err));
	return EXIT_SUCCESS;
}
