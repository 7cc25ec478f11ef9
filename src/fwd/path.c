/* SPDX-License-Identifier: MIT */
#include "fwd/path.h"

#include "base/num.h"
#include "os/unixpath.h"

static bool is_relative(const char *text)
{
	return !strncmp(text, "./", 2) || !strncmp(text, "../", 3);
}

enum spec_path spec_path_kind(const char *text)
{
	const char *pos = text;
	uint64_t port;

	if (is_relative(text) || (text[0] == '/' && text[1 + strcspn(text + 1, "/:,")] == '/'))
		return SPEC_AT_PATH;
	if (num_take(&pos, 1, UINT16_MAX, &port) || *pos++ != ':')
		return SPEC_NO_PATH;
	return *pos == '/' || is_relative(pos) ? SPEC_TO_PATH : SPEC_NO_PATH;
}

/* Bytes of the character that begins here, as UTF-8 (RFC 3629 4); 0: there is none, or it is one of control. */
static unsigned char_len(const uint8_t *p)
{
	static const struct {
		uint8_t first, last; /* of the first byte */
		uint8_t min, max; /* of the second one */
		uint8_t len;
	} form[] = {
		{ 0x20, 0x7e, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(form); i++) {
		unsigned n = 1;

		if (p[0] < form[i].first || p[0] > form[i].last)
			continue;
		if (form[i].len > 1 && (p[1] < form[i].min || p[1] > form[i].max))
			return 0;
		while (n < form[i].len && (n == 1 || (p[n] & 0xc0) == 0x80))
			n++;
		return n == form[i].len ? n : 0;
	}
	return 0;
}

/* Rules are shown as lines, and as JSON. */
static bool is_text(const char *path)
{
	const uint8_t *p = (const uint8_t *)path;
	unsigned len = 1;

	for (; *p && len; p += len)
		len = char_len(p);
	return len;
}

static const char *path_set(struct fwd_rule *rule, const char *path, size_t len)
{
	if (len >= UNIXPATH_MAX)
		return "the path of a UNIX socket has to be shorter than 108 bytes";
	memcpy(rule->path, path, len);
	if (path[len - 1] == '/')
		return "the path of a UNIX socket can't be that of a folder";
	return is_text(rule->path) ? NULL : "the path of a UNIX socket has to be text";
}

const char *spec_path_parse(const char *text, enum spec_path kind, struct fwd_rule *rule)
{
	const char *colon = kind == SPEC_AT_PATH ? strrchr(text, ':') : strchr(text, ':');
	const char *port_at = kind == SPEC_AT_PATH && colon ? colon + 1 : text;
	uint64_t port;

	if (is_relative(kind == SPEC_AT_PATH || !colon ? text : colon + 1))
		return "the path of a UNIX socket has to begin at the root";
	if (!colon || num_take(&port_at, 1, UINT16_MAX, &port) || port_at != (kind == SPEC_AT_PATH ? strchr(text, 0) : colon))
		return "a UNIX socket goes with one port";
	rule->first = rule->last = rule->to = (uint16_t)port;
	if (kind == SPEC_AT_PATH) {
		rule->flags |= FWD_AT_PATH;
		return path_set(rule, text, (size_t)(colon - text));
	}
	rule->flags |= FWD_TO_PATH;
	return path_set(rule, colon + 1, strlen(colon + 1));
}
