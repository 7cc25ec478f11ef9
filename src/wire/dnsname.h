/* SPDX-License-Identifier: MIT */
/* Domain names as text to the labels of RFC 1035 3.1, never compressed (RFC 3397, RFC 8106 5.2 and RFC 8415 10 all take that). */
#pragma once

#include "base/wr.h"

#define DNSNAME_TEXT_MAX 256 /* text with its NUL */
#define DNSNAME_LEN_MAX 255 /* on the wire, with the root label */
#define DNSNAME_LABEL_MAX 63

/*
 * Bytes of the name on the wire, with the root label. One dot at the end is allowed. 0 if it is not a name: empty, an empty label,
 * a label over 63 bytes, over 255 bytes in all.
 */
size_t dnsname_len(const char *name);

/* Writes dnsname_len() bytes; marks the writer bad if name is not a name. */
void dnsname_put(struct wr *w, const char *name);

/* Writes the first of n names, one behind the other, as long as they fit into room bytes; what is not a name is left out. */
void dnsname_list_put(struct wr *w, const char (*names)[DNSNAME_TEXT_MAX], unsigned n, size_t room);
