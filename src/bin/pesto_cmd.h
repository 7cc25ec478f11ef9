/* SPDX-License-Identifier: MIT */
/* Commands of pesto beside forwarding rules: each gets its own words, of which the first is its name, and returns the exit status. */
#pragma once

#include <stdio.h>

#include "ctl/client.h"

int pesto_flows(int argc, char **argv);
int pesto_stats(int argc, char **argv);
int pesto_capture(int argc, char **argv);
int pesto_events(int argc, char **argv);

/* Connects, or ends the program with a message. */
void pesto_connect(struct ctl_client *c, const char *path);

/* Sends {"do": what, ...}, taking members (NULL: none), and waits for the reply; ends the program if there is none. */
json_t *pesto_ask(struct ctl_client *c, const char *what, json_t *members, int fd);

/* The same; ends the program with the message of a reply that is not ok. */
json_t *pesto_get(struct ctl_client *c, const char *what, json_t *members, int fd);

void pesto_usage(FILE *f);
__attribute__((noreturn)) void pesto_die(const char *fmt, ...) PRINTF(1, 2);
