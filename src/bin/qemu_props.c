/* SPDX-License-Identifier: MIT */
#include "bin/qemu_props.h"

#include <stdio.h>
#include <string.h>

/* Appends while there is room for the NUL. */
static void put(char *buf, size_t size, size_t *at, char c)
{
	if (*at + 1 < size)
		buf[(*at)++] = c;
	buf[*at] = '\0';
}

static void json_space(const char **pos)
{
	*pos += strspn(*pos, " \t\r\n");
}

/* A string in quotes. Escapes stand for the character behind them, which is all that names, addresses and numbers need. */
static bool json_string(const char **pos, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	if (**pos != '"')
		return false;
	for ((*pos)++; **pos != '"'; (*pos)++) {
		if (**pos == '\\')
			(*pos)++;
		if (!**pos)
			return false;
		put(buf, size, &at, **pos);
	}
	(*pos)++;
	return true;
}

/* A number, a word, or a whole array or object, as its text. */
static bool json_other(const char **pos, char *buf, size_t size)
{
	const char *start = *pos;
	unsigned depth = 0;
	size_t at = 0;

	buf[0] = '\0';
	for (; **pos && (depth || !strchr(",} \t\r\n", **pos)); (*pos)++) {
		char skip[2];

		if (**pos == '"') {
			if (!json_string(pos, skip, sizeof(skip)))
				return false;
			(*pos)--;
		} else if (strchr("[{", **pos)) {
			depth++;
		} else if (strchr("]}", **pos)) {
			if (!depth--)
				return false;
		}
	}
	for (const char *c = start; c < *pos; c++)
		put(buf, size, &at, *c);
	return !depth && *pos != start;
}

static bool json_next(struct qemu_props *p)
{
	bool ok;

	json_space(&p->pos);
	if (*p->pos != '{' && *p->pos != ',')
		return false;
	p->pos++;
	json_space(&p->pos);
	if (!json_string(&p->pos, p->key, sizeof(p->key)))
		return false;
	json_space(&p->pos);
	if (*p->pos != ':')
		return false;
	p->pos++;
	json_space(&p->pos);
	ok = *p->pos == '"' ? json_string(&p->pos, p->val, sizeof(p->val)) : json_other(&p->pos, p->val, sizeof(p->val));
	return ok;
}

/* Up to a single comma; a doubled one is part of the text. */
static void plain_value(const char **pos, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (; **pos; (*pos)++) {
		if (**pos == ',' && *++(*pos) != ',')
			return;
		put(buf, size, &at, **pos);
	}
}

static bool plain_next(struct qemu_props *p)
{
	size_t len = strcspn(p->pos, "=,");

	if (!*p->pos)
		return false;
	p->val[0] = '\0';
	if (p->pos[len] == '=') {
		snprintf(p->key, sizeof(p->key), "%.*s", (int)len, p->pos);
		p->pos += len + 1;
		plain_value(&p->pos, p->val, sizeof(p->val));
	} else if (p->implied) {
		snprintf(p->key, sizeof(p->key), "%s", p->implied);
		plain_value(&p->pos, p->val, sizeof(p->val));
	} else {
		plain_value(&p->pos, p->key, sizeof(p->key));
	}
	p->implied = NULL;
	return true;
}

struct qemu_props qemu_props_init(const char *arg, const char *implied)
{
	struct qemu_props p = { .pos = arg, .implied = implied };
	const char *start = arg;

	json_space(&start);
	p.json = *start == '{';
	return p;
}

bool qemu_props_next(struct qemu_props *p)
{
	return p->json ? json_next(p) : plain_next(p);
}

bool qemu_prop_get(const char *arg, const char *implied, const char *key, char ret_val[QEMU_VAL_LEN])
{
	struct qemu_props p = qemu_props_init(arg, implied);

	while (qemu_props_next(&p)) {
		if (strcmp(p.key, key))
			continue;
		memcpy(ret_val, p.val, QEMU_VAL_LEN);
		return true;
	}
	return false;
}
