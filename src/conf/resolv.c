/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/resolv.h"

/* A run of bytes within the text. */
struct word {
	const char *p;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool word_is(const struct word *w, const char *s)
{
	return w->len == strlen(s) && !memcmp(w->p, s, w->len);
}

/* Takes the next word off the line; length 0: there is none. A comment starts at the begin of a word. */
static struct word word_next(struct word *line)
{
	struct word w;

	while (line->len && is_blank(line->p[0])) {
		line->p++;
		line->len--;
	}
	if (line->len && (line->p[0] == '#' || line->p[0] == ';'))
		line->len = 0;
	w = (struct word){ .p = line->p };
	while (w.len < line->len && !is_blank(w.p[w.len]))
		w.len++;
	line->p += w.len;
	line->len -= w.len;
	return w;
}

static void add_dns(struct resolv *r, const struct word *w)
{
	const char *scope = w->len ? memchr(w->p, '%', w->len) : NULL;
	size_t len = scope ? (size_t)(scope - w->p) : w->len;
	struct addr a;

	if (r->n_dns == RESOLV_DNS_MAX || addr_parse_n(w->p, len, &a) || addr_is_any(&a) || addr_is_multicast(&a))
		return;
	for (unsigned i = 0; i < r->n_dns; i++) {
		if (addr_eq(&r->dns[i], &a))
			return;
	}
	r->dns[r->n_dns++] = a;
}

static void set_search(struct resolv *r, struct word *line, bool one)
{
	struct word w;

	r->n_search = 0;
	for (w = word_next(line); w.len && r->n_search < GUESTCONF_SEARCH; w = word_next(line)) {
		if (!val_name(w.p, w.len, r->search[r->n_search]))
			r->n_search++;
		if (one)
			return;
	}
}

static void parse_line(struct resolv *r, struct word line)
{
	struct word key = word_next(&line);
	struct word first;

	if (word_is(&key, "nameserver")) {
		first = word_next(&line);
		add_dns(r, &first);
	} else if (word_is(&key, "search")) {
		set_search(r, &line, false);
	} else if (word_is(&key, "domain")) {
		set_search(r, &line, true);
	}
}

void resolv_parse(const char *text, size_t len, struct resolv *ret_resolv)
{
	memset(ret_resolv, 0, sizeof(*ret_resolv));
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		parse_line(ret_resolv, (struct word){ .p = text, .len = n });
		n += end != NULL;
		text += n;
		len -= n;
	}
}

int resolv_read(const char *path, struct resolv *ret_resolv)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t len = 0;
	ssize_t n = 1;

	memset(ret_resolv, 0, sizeof(*ret_resolv));
	if (fd < 0)
		return -errno;
	text = malloc(RESOLV_TEXT_MAX);
	if (!text) {
		close(fd);
		return -ENOMEM;
	}
	while (len < RESOLV_TEXT_MAX && n) {
		n = read(fd, text + len, RESOLV_TEXT_MAX - len);
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	n = n < 0 ? -errno : 0;
	close(fd);
	if (!n)
		resolv_parse(text, len, ret_resolv);
	free(text);
	return (int)n;
}
