/* SPDX-License-Identifier: MIT */
#include "ctl/line.h"

#include "ctl/server.h"

/* How deep objects and arrays lie in each other, as far as the line is JSON. jansson's own limit is far above what its stack is for. */
static unsigned line_depth(const char *line, size_t len)
{
	unsigned depth = 0, most = 0;
	bool text = false;

	for (size_t i = 0; i < len; i++) {
		char ch = line[i];

		if (text) {
			i += ch == '\\';
			text = ch != '"';
		} else if (ch == '"') {
			text = true;
		} else if (ch == '{' || ch == '[') {
			depth++;
			most = MAX(most, depth);
		} else if ((ch == '}' || ch == ']') && depth) {
			depth--;
		}
	}
	return most;
}

json_t *ctl_line_parse(const char *line, size_t len, const char **ret_why)
{
	json_error_t err;
	json_t *req;

	*ret_why = "The request is nested too deeply";
	if (line_depth(line, len) > CTL_DEPTH_MAX)
		return NULL;
	req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);
	*ret_why = "The request is not JSON";
	/* Not every place in jansson that finds no memory says so. */
	if (!req && (json_error_code(&err) == json_error_out_of_memory || json_error_code(&err) == json_error_unknown))
		*ret_why = NULL;
	if (!req || json_is_object(req))
		return req;
	json_decref(req);
	*ret_why = "The request is not an object";
	return NULL;
}
