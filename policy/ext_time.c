/* SPDX-License-Identifier: Apache-2.0
 *
 * datetime and duration: i64 milliseconds, since 1970-01-01T00:00:00Z or as a span.
 *
 *   datetime  YYYY-MM-DD | YYYY-MM-DDThh:mm:ss[.SSS](Z | +hhmm | -hhmm)
 *   duration  -?[Nd][Nh][Nm][Ns][Nms], at least one unit
 *
 * Digit counts of a datetime are exact, days are real (proleptic Gregorian, years 0000-9999), no
 * leap second, no 24:00; an offset is below 24 hours.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/ext.h"

#include <string.h>

#define DAY_MS INT64_C(86400000)

/* --- datetime ----------------------------------------------------------------------------------- */

/* The number written with exactly n digits at s[*at], which moves on; -1 when it is not there. */
static int digits(const char *s, size_t len, size_t *at, size_t n)
{
	int v = 0;
	if (len - *at < n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		char ch = s[*at + i];
		if (ch < '0' || ch > '9')
			return -1;
		v = v * 10 + (ch - '0');
	}
	*at += n;
	return v;
}

static bool mark(const char *s, size_t len, size_t *at, char want)
{
	if (*at >= len || s[*at] != want)
		return false;
	++*at;
	return true;
}

static int month_days(int y, int m)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

/* Days from 1970-01-01: whole years with their leap days, then months. */
static int64_t date_days(int y, int m, int d)
{
	int64_t before = y ? y - 1 : 0;
	int64_t leaps = y ? before / 4 - before / 100 + before / 400 + 1 : 0; /* year 0 is a leap year */
	int64_t days = (int64_t)y * 365 + leaps - 719528 + d - 1;
	for (int i = 1; i < m; i++)
		days += month_days(y, i);
	return days;
}

static bool take_date(const char *s, size_t len, size_t *at, int64_t *days)
{
	int y = digits(s, len, at, 4);
	if (y < 0 || !mark(s, len, at, '-'))
		return false;
	int m = digits(s, len, at, 2);
	if (m < 1 || m > 12 || !mark(s, len, at, '-'))
		return false;
	int d = digits(s, len, at, 2);
	if (d < 1 || d > month_days(y, m))
		return false;
	*days = date_days(y, m, d);
	return true;
}

static bool take_clock(const char *s, size_t len, size_t *at, int64_t *ms)
{
	int h = digits(s, len, at, 2);
	if (h < 0 || h > 23 || !mark(s, len, at, ':'))
		return false;
	int m = digits(s, len, at, 2);
	if (m < 0 || m > 59 || !mark(s, len, at, ':'))
		return false;
	int sec = digits(s, len, at, 2);
	if (sec < 0 || sec > 59)
		return false;
	int milli = mark(s, len, at, '.') ? digits(s, len, at, 3) : 0;
	if (milli < 0)
		return false;
	*ms = ((h * 60 + m) * 60 + sec) * INT64_C(1000) + milli;
	return true;
}

static bool take_zone(const char *s, size_t len, size_t *at, int64_t *ms)
{
	*ms = 0;
	if (mark(s, len, at, 'Z'))
		return true;
	bool minus = mark(s, len, at, '-');
	if (!minus && !mark(s, len, at, '+'))
		return false;
	int h = digits(s, len, at, 2), m = digits(s, len, at, 2);
	if (h < 0 || h > 23 || m < 0 || m > 59)
		return false;
	*ms = (h * 60 + m) * INT64_C(60000) * (minus ? -1 : 1);
	return true;
}

bool datetime_parse(const char *s, size_t len, int64_t *out_ms, const char **why)
{
	int64_t days, clock = 0, zone = 0;
	size_t at = 0;
	*why = "has no valid date YYYY-MM-DD";
	if (!take_date(s, len, &at, &days))
		return false;
	if (at < len) {
		*why = "has no valid time Thh:mm:ss[.SSS] after the date";
		if (!mark(s, len, &at, 'T') || !take_clock(s, len, &at, &clock))
			return false;
		*why = "has no valid zone (Z, +hhmm or -hhmm) at its end";
		if (!take_zone(s, len, &at, &zone) || at != len)
			return false;
	}
	*out_ms = days * DAY_MS + clock - zone;
	return true;
}

/* --- duration ----------------------------------------------------------------------------------- */

static const struct {
	const char *unit;
	int64_t ms;
} units[] = {
	{"d", DAY_MS}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
#define N_UNITS (sizeof units / sizeof units[0])

/* The unit at s, not before row from; N_UNITS when there is none. Letters up to the next digit. */
static size_t take_unit(const char *s, size_t len, size_t *at, size_t from)
{
	size_t n = 0;
	while (*at + n < len && (s[*at + n] < '0' || s[*at + n] > '9'))
		n++;
	for (size_t u = from; u < N_UNITS; u++)
		if (strlen(units[u].unit) == n && memcmp(units[u].unit, s + *at, n) == 0) {
			*at += n;
			return u;
		}
	return N_UNITS;
}

bool duration_parse(const char *s, size_t len, int64_t *out_ms, const char **why)
{
	bool minus = len && s[0] == '-', over = false;
	size_t at = minus, next = 0;
	int64_t total = 0;
	*why = "is not a duration such as 1d2h3m4s5ms";
	if (at >= len)
		return false;
	while (at < len) {
		int64_t v = 0, part;
		size_t start = at;
		for (; at < len && s[at] >= '0' && s[at] <= '9'; at++) {
			int d = s[at] - '0';
			over |= __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, minus ? -d : d, &v);
		}
		size_t u = at > start ? take_unit(s, len, &at, next) : N_UNITS;
		if (u == N_UNITS)
			return false;
		over |= __builtin_mul_overflow(v, units[u].ms, &part) || __builtin_add_overflow(total, part, &total);
		next = u + 1;
	}
	*why = "does not fit into a duration";
	*out_ms = total;
	return !over;
}

/* --- functions ---------------------------------------------------------------------------------- */

bool ext_datetime(struct ext_call *c)
{
	int64_t v;
	const char *why;
	if (!datetime_parse(c->args[0].s, c->args[0].len, &v, &why))
		return ext_bad_text(c, why);
	c->out = (struct val){.kind = VAL_DATETIME, .i = v};
	return true;
}

bool ext_duration(struct ext_call *c)
{
	int64_t v;
	const char *why;
	if (!duration_parse(c->args[0].s, c->args[0].len, &v, &why))
		return ext_bad_text(c, why);
	c->out = (struct val){.kind = VAL_DURATION, .i = v};
	return true;
}

bool ext_offset(struct ext_call *c)
{
	c->out = (struct val){.kind = VAL_DATETIME};
	if (__builtin_add_overflow(c->args[0].i, c->args[1].i, &c->out.i))
		return ext_bad(c, "overflow while adding a duration to a datetime");
	return true;
}

bool ext_duration_since(struct ext_call *c)
{
	c->out = (struct val){.kind = VAL_DURATION};
	if (__builtin_sub_overflow(c->args[0].i, c->args[1].i, &c->out.i))
		return ext_bad(c, "overflow while subtracting two datetimes");
	return true;
}

static int64_t day_part(int64_t ms)
{
	int64_t r = ms % DAY_MS;
	return r < 0 ? r + DAY_MS : r;
}

bool ext_to_date(struct ext_call *c)
{
	c->out = (struct val){.kind = VAL_DATETIME};
	if (__builtin_sub_overflow(c->args[0].i, day_part(c->args[0].i), &c->out.i))
		return ext_bad(c, "overflow while rounding a datetime down to its day");
	return true;
}

bool ext_to_time(struct ext_call *c)
{
	c->out = (struct val){.kind = VAL_DURATION, .i = day_part(c->args[0].i)};
	return true;
}

static bool to_unit(struct ext_call *c, int64_t ms)
{
	c->out = val_long(c->args[0].i / ms);
	return true;
}

bool ext_to_milliseconds(struct ext_call *c)
{
	return to_unit(c, 1);
}
bool ext_to_seconds(struct ext_call *c)
{
	return to_unit(c, 1000);
}
bool ext_to_minutes(struct ext_call *c)
{
	return to_unit(c, 60000);
}
bool ext_to_hours(struct ext_call *c)
{
	return to_unit(c, 3600000);
}
bool ext_to_days(struct ext_call *c)
{
	return to_unit(c, DAY_MS);
}
