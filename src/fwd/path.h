/* SPDX-License-Identifier: MIT */
/*
 * The forms of a specifier that name a UNIX socket of the host: PATH:PORT, to listen there for a port of the guest, and PORT:PATH, to take a
 * port of the namespace there.
 */
#pragma once

#include "fwd/rule.h"

enum spec_path { SPEC_NO_PATH, SPEC_AT_PATH, SPEC_TO_PATH };

/*
 * Which of them a text is. As "/80:8080" is a list behind an empty address, what begins with a slash is a path only if another slash comes
 * before a colon or comma. "./" and "../" are as good a beginning, for an error that says what is wrong with them.
 */
enum spec_path spec_path_kind(const char *text);

/* Sets path, ports and the flag of a rule for a text of that kind, which is not SPEC_NO_PATH. NULL, or what is wrong with the text. */
MUST_USE const char *spec_path_parse(const char *text, enum spec_path kind, struct fwd_rule *rule);
