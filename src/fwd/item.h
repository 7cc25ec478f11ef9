/* SPDX-License-Identifier: MIT */
/* One item of the list of a port specifier: "80", "80-90:8080-8090", "80:10.0.0.1/8080", "~80-90", "all", "auto". */
#pragma once

#include "base/addr.h"

enum spec_item_kind { ITEM_PORTS, ITEM_ALL, ITEM_AUTO, ITEM_EXCLUDE };

struct spec_item {
	enum spec_item_kind kind;
	uint16_t first, last; /* ITEM_AUTO has none, ITEM_ALL has all */
	uint16_t to; /* port of the guest that first goes to */
	bool have_target;
	struct addr target;
};

/* Parses the text from pos up to end, which is a comma or the end of a string. NULL, or what is wrong with it. */
MUST_USE const char *spec_item_parse(const char *pos, const char *end, struct spec_item *ret_item);
