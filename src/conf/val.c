/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/num.h"
#include "conf/val.h"
#include "os/userdb.h"

#define LABEL_MAX 63
#define NAME_TEXT_MAX 253

int val_addr(const char *s, unsigned deny, struct addr *ret_addr)
{
	struct addr a;

	if (addr_parse(s, &a))
		return -EINVAL;
	if ((deny & VAL_DENY_ANY) && addr_is_any(&a))
		return -EINVAL;
	if ((deny & VAL_DENY_LOOPBACK) && addr_is_loopback(&a))
		return -EINVAL;
	if ((deny & VAL_DENY_MULTI) && (addr_is_multicast(&a) || addr_is_broadcast(&a)))
		return -EINVAL;
	*ret_addr = a;
	return 0;
}

int val_addr_plen(const char *s, struct addr *ret_addr, unsigned *ret_plen)
{
	const char *slash = strchr(s, '/');
	char text[ADDR_STRLEN];
	uint64_t plen = 0;
	struct addr a;
	size_t len;

	len = slash ? (size_t)(slash - s) : strlen(s);
	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	if (val_addr(text, VAL_DENY_ALL, &a))
		return -EINVAL;
	if (slash && num_parse(slash + 1, 1, addr_is4(&a) ? 32 : 128, &plen))
		return -EINVAL;
	*ret_addr = a;
	*ret_plen = (unsigned)plen;
	return 0;
}

int val_netmask(const char *s, unsigned *ret_plen)
{
	struct addr mask;
	uint64_t plen;
	unsigned n;

	if (!strchr(s, '.')) {
		if (num_parse(s, 1, 32, &plen))
			return -EINVAL;
		*ret_plen = (unsigned)plen;
		return 0;
	}
	if (addr_parse(s, &mask) || !addr_is4(&mask) || mask_to_plen(&mask, &n) || !n)
		return -EINVAL;
	*ret_plen = n;
	return 0;
}

unsigned val_class_plen(const struct addr *a)
{
	uint8_t first = addr_bytes(a)[0];

	if (first < 128)
		return 8;
	if (first < 192)
		return 16;
	return first < 224 ? 24 : 32;
}

int val_mtu(const char *s, unsigned *ret_mtu)
{
	uint64_t mtu;
	int r = num_parse(s, 0, VAL_MTU_MAX, &mtu);

	if (r)
		return r;
	*ret_mtu = (unsigned)mtu;
	return 0;
}

int val_fd(const char *s, int *ret_fd)
{
	uint64_t fd;

	if (num_parse(s, 0, INT_MAX, &fd))
		return -EINVAL;
	*ret_fd = (int)fd;
	return 0;
}

int val_log_size(const char *s, size_t *ret_bytes)
{
	uint64_t n;

	if (num_parse(s, VAL_LOG_SIZE_MIN, INT_MAX, &n))
		return -EINVAL;
	*ret_bytes = (size_t)n;
	return 0;
}

int val_text(const char *s, size_t cap, char *ret_text)
{
	size_t len = strlen(s);

	if (!len || len >= cap)
		return -EINVAL;
	memcpy(ret_text, s, len + 1);
	return 0;
}

int val_ifname(const char *s, char ret_name[VAL_IFNAME_MAX])
{
	for (const char *c = s; *c; c++) {
		if (*c == '/' || *c == ':' || isspace((unsigned char)*c))
			return -EINVAL;
	}
	if (!strcmp(s, ".") || !strcmp(s, ".."))
		return -EINVAL;
	return val_text(s, VAL_IFNAME_MAX, ret_name);
}

static bool name_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

int val_name(const char *s, size_t len, char ret_name[VAL_NAME_MAX])
{
	size_t label = 0;

	if (len && s[len - 1] == '.')
		len--;
	if (!len || len > NAME_TEXT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] != '.' && !name_char(s[i]))
			return -EINVAL;
		if (s[i] == '.' && !label)
			return -EINVAL;
		label = s[i] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return -EINVAL;
	}
	if (!label)
		return -EINVAL;
	memcpy(ret_name, s, len);
	ret_name[len] = '\0';
	return 0;
}

/* (uid_t)-1 means "leave as it is" to setresuid(2), so it is no user; the same for groups. */
static int runas_user(const char *s, uid_t *ret_uid, gid_t *ret_gid)
{
	uint64_t uid;

	if (num_parse(s, 0, UINT32_MAX - 1, &uid))
		return userdb_user(s, ret_uid, ret_gid);
	*ret_uid = (uid_t)uid;
	if (userdb_group_of((uid_t)uid, ret_gid))
		*ret_gid = (gid_t)uid;
	return 0;
}

static int runas_group(const char *s, gid_t *ret_gid)
{
	uint64_t gid;

	if (num_parse(s, 0, UINT32_MAX - 1, &gid))
		return userdb_group(s, ret_gid);
	*ret_gid = (gid_t)gid;
	return 0;
}

int val_runas(const char *s, uid_t *ret_uid, gid_t *ret_gid)
{
	const char *colon = strchr(s, ':');
	char user[VAL_NAME_MAX];
	size_t len;
	uid_t uid;
	gid_t gid;

	len = colon ? (size_t)(colon - s) : strlen(s);
	if (!len || len >= sizeof(user))
		return -EINVAL;
	memcpy(user, s, len);
	user[len] = '\0';
	if (runas_user(user, &uid, &gid))
		return -EINVAL;
	if (colon && runas_group(colon + 1, &gid))
		return -EINVAL;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}
