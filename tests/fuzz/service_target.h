/* SPDX-License-Identifier: MIT */
/*
 * The fuzz targets of the services: the first byte chooses a configuration, the rest is a frame. Whatever it is, a reply is whole and
 * well-formed. Unless the highest bit of the first byte is set, the frame is made to reach the service: its header is fixed up.
 */
#pragma once

#include <stdio.h>

#include "../unit/service/kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CONF_NO_MTU 0x01
#define CONF_SINGLE 0x02 /* a gateway that is not on link */
#define CONF_NO_ADDR 0x04
#define CONF_ROUTES 0x08
#define CONF_LONG 0x10 /* as many and as long names as there can be */
#define CONF_NO_EXTRA 0x20
#define CONF_RAW 0x80

static inline struct guestconf target_conf(uint8_t choice)
{
	struct guestconf c = kit_conf();

	if (choice & CONF_NO_MTU)
		c.mtu = 0;
	if (choice & CONF_SINGLE)
		c.plen4 = 32;
	if (choice & CONF_NO_ADDR) {
		c.addr6 = addr_any6;
		c.gw4 = addr_any4;
	}
	for (; choice & CONF_ROUTES && c.n_route4 < GUESTCONF_ROUTES; c.n_route4++)
		c.route4[c.n_route4] = (struct guestconf_route){ ADDR4_INIT(10, 1, 2, 3), (uint8_t)(c.n_route4 * 3), c.our4 };
	if (choice & CONF_LONG) {
		c.n_search = GUESTCONF_SEARCH;
		c.n_dns4 = c.n_dns6 = GUESTCONF_DNS;
		for (unsigned i = 0; i < GUESTCONF_SEARCH; i++) {
			for (unsigned k = 0; k < 253; k++)
				c.search[i][k] = c.fqdn[k] = c.hostname[k] = k % 60 == 59 ? '.' : 'x';
		}
	}
	if (choice & CONF_NO_EXTRA)
		c.dns = c.search_on = c.ra = false;
	return c;
}

/* Ethertype, and for IP the version, the protocol (with the hop limit that ND wants) and the lengths. */
static inline void target_fix(uint8_t *f, size_t len, uint16_t ethertype, uint8_t proto)
{
	bool v4 = ethertype == 0x0800;
	size_t l4 = v4 ? 34 : 54;

	if (len < 14)
		return;
	kit_set16(f + 12, ethertype);
	if (!proto || len < l4 + 8)
		return;
	f[14] = v4 ? 0x45 : 0x60;
	kit_set16(f + (v4 ? 16 : 18), v4 ? len - 14 : len - 54);
	f[v4 ? 23 : 20] = proto;
	if (v4) {
		kit_set16(f + 20, 0);
	} else {
		f[21] = 255;
		kit_set16(f + 22, 0xfe80); /* sender and, as a multicast address, receiver */
		kit_set16(f + 38, 0xff02);
	}
	if (proto == 17) {
		kit_set16(f + l4 + 2, v4 ? 67 : 547);
		kit_set16(f + l4 + 4, len - l4);
	}
}

/* What services say unasked: a question to an address, and an advertisement. */
static inline void target_speak(const struct guestconf *c, const uint8_t *data, size_t len)
{
	struct addr to = addr_any6;
	uint8_t f[SERVICE_FRAME_MAX];
	struct wr w = wr_init(f, sizeof(f));

	memcpy(to.b, data, MIN(len, sizeof(to.b)));
	to = data[0] & 0x40 ? addr_from4(to.b) : to;
	service_ask(c, &to, &w);
	if (!wr_ok(&w) || (wr_len(&w) && (wr_len(&w) < 60 || memcmp(f + 6, c->our_mac, MAC_LEN))))
		abort();
	w = wr_init(f, sizeof(f));
	service_ra(c, &w);
	if (!wr_ok(&w) || (wr_len(&w) && kit_reply_fault(c, f, wr_len(&w))))
		abort();
	if (!service_ra_interval((unsigned)(len % 5), data[0]))
		abort();
}

static inline int target_run(const uint8_t *data, size_t len, uint16_t ethertype, uint8_t proto)
{
	struct kit_reply r = { .v = SERVICE_NOT_MINE };
	struct guestconf c;
	uint8_t f[2048];
	const char *fault;

	if (!len || len - 1 > sizeof(f))
		return 0;
	c = target_conf(data[0]);
	target_speak(&c, data, len);
	memcpy(f, data + 1, len - 1);
	if (!(data[0] & CONF_RAW))
		target_fix(f, len - 1, ethertype, proto);
	if (kit_ask(&c, f, len - 1, &r) || r.v != SERVICE_REPLY)
		return 0;
	fault = kit_reply_fault(&c, r.f, r.len);
	if (fault) {
		fprintf(stderr, "reply: %s\n", fault);
		abort();
	}
	return 0;
}
