/* SPDX-License-Identifier: MIT */
#include "fwd/item.h"

#include <errno.h>

#include "base/num.h"

/* N[-M] at *pos, which is moved behind it. */
static int take_range(const char **pos, uint16_t *ret_first, uint16_t *ret_last)
{
	uint64_t first, last;

	if (num_take(pos, 1, UINT16_MAX, &first))
		return -EINVAL;
	last = first;
	if (**pos == '-') {
		(*pos)++;
		if (num_take(pos, first, UINT16_MAX, &last))
			return -EINVAL;
	}
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return 0;
}

static bool take_word(const char **pos, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*pos, word, len))
		return false;
	*pos += len;
	return true;
}

/* What follows the colon of a port item, up to end: TA[-TB], TADDR or TADDR/TA[-TB]. */
static const char *item_to(const char *pos, const char *end, struct spec_item *it)
{
	const char *slash = memrchr(pos, '/', (size_t)(end - pos)), *p = pos;
	uint16_t first = 0, last = 0;

	if (!slash && (take_range(&p, &first, &last) || p != end))
		slash = end;
	if (slash) {
		if (addr_parse_n(pos, (size_t)(slash - pos), &it->target))
			return "bad target";
		it->have_target = true;
		if (slash == end)
			return NULL;
		p = slash + 1;
		if (take_range(&p, &first, &last) || p != end)
			return "bad target port";
	}
	if (last - first != it->last - it->first)
		return "port ranges of different length";
	it->to = first;
	return NULL;
}

static const char *item_ports(const char *pos, const char *end, struct spec_item *it)
{
	if (take_range(&pos, &it->first, &it->last))
		return "bad port or range";
	it->to = it->first;
	if (pos == end)
		return NULL;
	return *pos == ':' ? item_to(pos + 1, end, it) : "text after port";
}

static const char *item_exclude(const char *pos, const char *end, struct spec_item *it)
{
	if (take_range(&pos, &it->first, &it->last))
		return "bad port or range";
	return pos == end ? NULL : "text after excluded port";
}

static const char *item_all(const char *pos, const char *end, struct spec_item *it)
{
	*it = (struct spec_item){ .kind = ITEM_ALL, .first = 1, .last = UINT16_MAX, .to = 1 };
	if (pos == end)
		return NULL;
	if (*pos != ':' || addr_parse_n(pos + 1, (size_t)(end - pos - 1), &it->target))
		return "bad text after 'all'";
	it->have_target = true;
	return NULL;
}

static const char *item_auto(const char *pos, const char *end, struct spec_item *it)
{
	return pos == end ? NULL : "text after 'auto'";
}

const char *spec_item_parse(const char *pos, const char *end, struct spec_item *ret_item)
{
	static const struct {
		const char *word;
		enum spec_item_kind kind;
		const char *(*parse)(const char *pos, const char *end, struct spec_item *it);
	} form[] = {
		{ "all", ITEM_ALL, item_all },
		{ "auto", ITEM_AUTO, item_auto },
		{ "~", ITEM_EXCLUDE, item_exclude },
		/* Whatever begins in no other way. */
		{ "", ITEM_PORTS, item_ports },
	};
	struct spec_item it;
	const char *why;
	unsigned i = 0;

	if (pos == end)
		return "empty item";
	while (!take_word(&pos, form[i].word))
		i++;
	it = (struct spec_item){ .kind = form[i].kind };
	why = form[i].parse(pos, end, &it);
	if (!why)
		*ret_item = it;
	return why;
}
