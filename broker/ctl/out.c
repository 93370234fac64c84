/* SPDX-License-Identifier: Apache-2.0
 *
 * What the command prints: remarks, JSON, tables, escaped text. Everything from a file, a model or the
 * broker goes through ctl_text or ctl_json_text.
 * Side: cli. Trusts: format strings of our own. Owns: rotating buffers, tables.
 */
#include "broker/ctl/ctl.h"

#include "proto/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_BYTES 512
#define COLS_MAX 12

static char *buffer_next(void)
{
	static char buffers[8][TEXT_BYTES];
	static unsigned at;
	return buffers[at++ % 8];
}

const char *ctl_text(const void *bytes, size_t len)
{
	return err_escape(buffer_next(), TEXT_BYTES, bytes ? bytes : "", bytes ? len : 0);
}

const char *ctl_str(const char *text) { return ctl_text(text, text ? strlen(text) : 0); }

const char *ctl_line(const char *text)
{
	char *b = buffer_next();
	size_t o = 0;
	for (const unsigned char *p = (const unsigned char *)(text ? text : ""); *p; p++) {
		bool plain = *p >= 0x20 && *p < 0x7f;
		if (o + 8 > TEXT_BYTES) {
			memcpy(b + o, "...", 3);
			o += 3;
			break;
		}
		o += (size_t)snprintf(b + o, 5, plain ? "%c" : "\\x%02x", *p);
	}
	b[o] = 0;
	return b;
}

const char *ctl_bytes(uint64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)n;
	unsigned u = 0;
	for (; v >= 1024 && u + 1 < sizeof units / sizeof units[0]; u++)
		v /= 1024;
	char *b = buffer_next();
	snprintf(b, TEXT_BYTES, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return b;
}

const char *ctl_time(uint64_t unix_s)
{
	char *b = buffer_next();
	struct tm tm;
	time_t t = (time_t)unix_s;
	if (unix_s > INT64_MAX || !gmtime_r(&t, &tm) || !strftime(b, TEXT_BYTES, "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(b, TEXT_BYTES, "@%" PRIu64, unix_s);
	return b;
}

void ctl_say(const struct ctl *c, const char *fmt, ...)
{
	va_list ap;
	if (c->quiet)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

int ctl_json_print(json_t *v, struct err *e)
{
	if (!v)
		return err_set(e, ERR_NOMEM, "no memory for JSON");
	/* ASCII only: text of a hostile file can hold direction marks and other terminal tricks. */
	int bad = json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) != 0;
	json_decref(v);
	bad = bad || fputc('\n', stdout) == EOF || fflush(stdout) != 0;
	return bad ? err_set(e, ERR_IO, "standard output cannot be written") : ERR_OK;
}

json_t *ctl_json_text(const void *bytes, size_t len)
{
	json_t *v = json_stringn(bytes ? bytes : "", bytes ? len : 0);
	if (v)
		return v;
	char *b = malloc(len * 4 + 8);
	v = b ? json_string(err_escape(b, len * 4 + 8, bytes, len)) : NULL;
	free(b);
	return v;
}

json_t *ctl_json_hex(const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;
	char b[2 * 64 + 1];
	if (len > 64)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		b[2 * i] = digits[p[i] >> 4];
		b[2 * i + 1] = digits[p[i] & 15];
	}
	return json_stringn(b, 2 * len);
}

/* --- tables ---------------------------------------------------------------------------------------------- */

struct ctl_table {
	size_t n_cols, n_cells, cap;
	char **cells; /* row after row, the header first */
	bool right[COLS_MAX], failed;
};

static void cell_add(struct ctl_table *t, const char *text)
{
	if (t->n_cells == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char **p = realloc(t->cells, cap * sizeof *p);
		if (!p) {
			t->failed = true;
			return;
		}
		t->cells = p;
		t->cap = cap;
	}
	char *copy = strdup(text ? text : "");
	t->failed = t->failed || !copy;
	t->cells[t->n_cells++] = copy;
}

struct ctl_table *ctl_table_new(size_t n_cols, const char *const *headers)
{
	struct ctl_table *t = n_cols <= COLS_MAX ? calloc(1, sizeof *t) : NULL;
	for (size_t i = 0; t && i < n_cols; i++) {
		t->n_cols = n_cols;
		t->right[i] = headers[i][0] == '>';
		cell_add(t, headers[i] + t->right[i]);
	}
	return t;
}

void ctl_table_row(struct ctl_table *t, const char *const *cells)
{
	for (size_t i = 0; t && i < t->n_cols; i++)
		cell_add(t, cells[i]);
}

static void row_print(const struct ctl_table *t, size_t row, const int *width, FILE *to)
{
	for (size_t i = 0; i < t->n_cols; i++) {
		const char *cell = t->cells[row * t->n_cols + i];
		bool last = i + 1 == t->n_cols;
		/* nothing is padded behind the last column */
		fprintf(to, "%*s%s", t->right[i] ? width[i] : last ? 0 : -width[i], cell, last ? "\n" : "  ");
	}
}

int ctl_table_print(struct ctl_table *t, FILE *to, struct err *e)
{
	int width[COLS_MAX] = { 0 }, rc = ERR_OK;
	if (!t || t->failed)
		rc = err_set(e, ERR_NOMEM, "no memory for a table");
	for (size_t i = 0; rc == ERR_OK && i < t->n_cells; i++) {
		int n = (int)strlen(t->cells[i]);
		if (n > width[i % t->n_cols])
			width[i % t->n_cols] = n;
	}
	for (size_t r = 0; rc == ERR_OK && r * t->n_cols < t->n_cells; r++)
		row_print(t, r, width, to);
	if (rc == ERR_OK && ferror(to))
		rc = err_set(e, ERR_IO, "output cannot be written");
	for (size_t i = 0; t && i < t->n_cells; i++)
		free(t->cells[i]);
	if (t)
		free(t->cells);
	free(t);
	return rc;
}
