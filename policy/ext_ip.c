/* SPDX-License-Identifier: Apache-2.0
 *
 * ipaddr: an IPv4 or IPv6 address with a prefix length (32 or 128 when none is written).
 *
 *   IPv4   four decimal groups 0-255 of 1-3 digits without leading zeros; /0 to /32
 *   IPv6   eight groups of 1-4 hex digits, or fewer and one :: for at least one group; /0 to /128
 *   no embedded IPv4, no zone, no spaces, no leading zero in a prefix
 *
 * Two values are equal when address (host bits too) and prefix are; ranges compare networks.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/ext.h"

#include <string.h>

struct cursor {
	const char *p, *end;
};

static int peek(const struct cursor *c)
{
	return c->p < c->end ? (unsigned char)*c->p : -1;
}

static bool take(struct cursor *c, char want)
{
	if (peek(c) != want)
		return false;
	c->p++;
	return true;
}

/* A decimal number of at most digits digits without leading zeros and at most max. */
static bool take_number(struct cursor *c, int digits, unsigned max, unsigned *out)
{
	const char *start = c->p;
	unsigned v = 0;
	for (; peek(c) >= '0' && peek(c) <= '9' && c->p - start < digits; c->p++)
		v = v * 10 + (unsigned)(*c->p - '0');
	if (c->p == start || (*start == '0' && c->p - start > 1) || v > max)
		return false;
	*out = v;
	return true;
}

static bool take_prefix(struct cursor *c, struct ip *ip)
{
	unsigned v = ip->bits;
	if (take(c, '/') && !take_number(c, ip->bits == 32 ? 2 : 3, ip->bits, &v))
		return false;
	ip->prefix = (uint8_t)v;
	return c->p == c->end;
}

static bool parse_v4(struct cursor c, struct ip *ip)
{
	ip->bits = 32;
	for (int i = 0; i < 4; i++) {
		unsigned v;
		if ((i && !take(&c, '.')) || !take_number(&c, 3, 255, &v))
			return false;
		ip->addr[i] = (uint8_t)v;
	}
	return take_prefix(&c, ip);
}

static int hex_digit(int ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static bool take_group(struct cursor *c, uint8_t out[2])
{
	const char *start = c->p;
	unsigned v = 0;
	for (int h; c->p - start < 4 && peek(c) >= 0 && (h = hex_digit(peek(c))) >= 0; c->p++)
		v = v << 4 | (unsigned)h;
	out[0] = (uint8_t)(v >> 8);
	out[1] = (uint8_t)v;
	return c->p > start;
}

static bool parse_v6(struct cursor c, struct ip *ip)
{
	uint8_t groups[8][2];
	int n = 0, gap = -1;
	ip->bits = 128;
	if (peek(&c) == ':') {
		c.p++;
		if (!take(&c, ':'))
			return false;
		gap = 0;
	}
	while (n < 8 && peek(&c) >= 0 && peek(&c) != '/') {
		if (!take_group(&c, groups[n]))
			return false;
		n++;
		if (!take(&c, ':'))
			break;
		if (peek(&c) == ':') {
			if (gap >= 0)
				return false;
			gap = n;
			c.p++;
		} else if (n == 8 || peek(&c) < 0 || peek(&c) == '/') {
			return false; /* a single colon at the end */
		}
	}
	if (gap < 0 ? n != 8 : n > 7)
		return false;
	size_t head = gap < 0 ? 8 : (size_t)gap;
	memcpy(ip->addr, groups, head * 2);
	memcpy(ip->addr + 16 - ((size_t)n - head) * 2, groups + head, ((size_t)n - head) * 2);
	return take_prefix(&c, ip);
}

bool ip_parse(const char *s, size_t len, struct ip *out)
{
	struct cursor c = {s, s + len};
	memset(out, 0, sizeof *out);
	return len && memchr(s, ':', len) ? parse_v6(c, out) : parse_v4(c, out);
}

/* Is the network of a inside the network addr/prefix of the same family? */
static bool in_network(const struct ip *a, const uint8_t *addr, unsigned prefix)
{
	if (a->prefix < prefix)
		return false;
	unsigned whole = prefix / 8, rest = prefix % 8;
	if (memcmp(a->addr, addr, whole) != 0)
		return false;
	return !rest || (a->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

bool ext_ip(struct ext_call *c)
{
	struct ip *ip = arena_alloc(c->arena, 1, sizeof *ip);
	if (!ip) {
		c->no_memory = true;
		return ext_bad(c, val_made_text(VAL_NO_MEMORY));
	}
	if (!ip_parse(c->args[0].s, c->args[0].len, ip))
		return ext_bad_text(c, "is not an IP address or range");
	c->out = (struct val){.kind = VAL_IP, .ip = ip};
	return true;
}

bool ext_is_ipv4(struct ext_call *c)
{
	c->out = val_bool(c->args[0].ip->bits == 32);
	return true;
}

bool ext_is_ipv6(struct ext_call *c)
{
	c->out = val_bool(c->args[0].ip->bits == 128);
	return true;
}

bool ext_is_loopback(struct ext_call *c)
{
	static const uint8_t v4[4] = {127}, v6[16] = {[15] = 1};
	const struct ip *ip = c->args[0].ip;
	c->out = val_bool(ip->bits == 32 ? in_network(ip, v4, 8) : in_network(ip, v6, 128));
	return true;
}

bool ext_is_multicast(struct ext_call *c)
{
	static const uint8_t v4[4] = {224}, v6[16] = {0xff};
	const struct ip *ip = c->args[0].ip;
	c->out = val_bool(ip->bits == 32 ? in_network(ip, v4, 4) : in_network(ip, v6, 8));
	return true;
}

bool ext_is_in_range(struct ext_call *c)
{
	const struct ip *a = c->args[0].ip, *b = c->args[1].ip;
	c->out = val_bool(a->bits == b->bits && in_network(a, b->addr, b->prefix));
	return true;
}
