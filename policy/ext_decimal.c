/* SPDX-License-Identifier: Apache-2.0
 *
 * decimal: -?digits.digits with one to four digits after the point, as an i64 of ten-thousandths,
 * -922337203685477.5808 to 922337203685477.5807. Leading zeros are fine, a plus sign is not.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/ext.h"

/* Appends a digit to a number that grows away from zero; false on overflow. */
static bool push_digit(int64_t *v, int digit, bool minus)
{
	return !__builtin_mul_overflow(*v, 10, v) && !__builtin_add_overflow(*v, minus ? -digit : digit, v);
}

static size_t digits_at(const char *s, size_t len)
{
	size_t n = 0;
	while (n < len && s[n] >= '0' && s[n] <= '9')
		n++;
	return n;
}

bool decimal_parse(const char *s, size_t len, int64_t *out, const char **why)
{
	bool minus = len && s[0] == '-';
	size_t at = minus, whole = digits_at(s + at, len - at), frac = 0;
	int64_t v = 0;
	*why = "is not a decimal number such as 1.0";
	if (!whole || at + whole >= len || s[at + whole] != '.')
		return false;
	frac = digits_at(s + at + whole + 1, len - at - whole - 1);
	if (!frac || at + whole + 1 + frac != len)
		return false;
	*why = "has more than four digits after the point";
	if (frac > 4)
		return false;
	*why = "does not fit into a decimal";
	for (size_t i = 0; i < whole + 4; i++) {
		size_t k = i < whole ? at + i : at + i + 1;
		if (!push_digit(&v, i < whole + frac ? s[k] - '0' : 0, minus))
			return false;
	}
	*out = v;
	return true;
}

bool ext_decimal(struct ext_call *c)
{
	int64_t v;
	const char *why;
	if (!decimal_parse(c->args[0].s, c->args[0].len, &v, &why))
		return ext_bad_text(c, why);
	c->out = (struct val){.kind = VAL_DECIMAL, .i = v};
	return true;
}

bool ext_less(struct ext_call *c)
{
	c->out = val_bool(c->args[0].i < c->args[1].i);
	return true;
}

bool ext_less_equal(struct ext_call *c)
{
	c->out = val_bool(c->args[0].i <= c->args[1].i);
	return true;
}

bool ext_greater(struct ext_call *c)
{
	c->out = val_bool(c->args[0].i > c->args[1].i);
	return true;
}

bool ext_greater_equal(struct ext_call *c)
{
	c->out = val_bool(c->args[0].i >= c->args[1].i);
	return true;
}
