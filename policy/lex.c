/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of policies and schemas.
 *
 *   identifier  [_a-zA-Z][_a-zA-Z0-9]*        integer  [0-9]+
 *   string      "..." ; a backslash takes the next character with it, which is no newline
 *   escapes     \" \\ \' \n \r \t \0 \xHH (to 7F) \u{1 to 6 hex digits, _ between}; \* in patterns
 *   white space Unicode's White_Space; // comments run to the end of the line (LF or CR)
 *
 * A bare carriage return inside a string is refused, as the official build does.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "policy/lex.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	size_t len;
	enum lex_tok kind;
} marks[] = {
#define MARK_ROW(sym, text) {text, sizeof text - 1, sym},
	LEX_MARKS(MARK_ROW)
#undef MARK_ROW
};

static const struct {
	const char *text;
	size_t len;
	enum lex_word word;
} words[] = {
#define WORD_ROW(sym, text) {text, sizeof text - 1, sym},
	LEX_WORDS(WORD_ROW)
#undef WORD_ROW
};

static bool ident_start(unsigned char c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool ident_more(unsigned char c)
{
	return ident_start(c) || (c >= '0' && c <= '9');
}

bool lex_ident_char(unsigned char c, bool more)
{
	return more ? ident_more(c) : ident_start(c);
}

/* --- UTF-8 --------------------------------------------------------------------------------------- */

/* Length of the valid sequence at s, 0 when there is none; its code point in *cp. */
static unsigned utf8_at(const char *text, size_t left, uint32_t *cp)
{
	const unsigned char *s = (const unsigned char *)text;
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	if (!n || n > left)
		return 0;
	*cp = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	return *cp < least[n] || *cp > 0x10ffff || (*cp >> 11 == 0x1b) ? 0 : n;
}

static unsigned utf8_put(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (unsigned i = n - 1; i > 0; i--, cp >>= 6)
		out[i] = (char)(0x80 | (cp & 0x3f));
	out[0] = (char)((0xf00u >> n & 0xf0) | cp);
	return n;
}

static bool is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
		   (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
		   cp == 0x3000;
}

/* --- places and messages ------------------------------------------------------------------------- */

void lex_place(const char *text, size_t len, size_t at, unsigned *line, unsigned *column)
{
	*line = *column = 1;
	for (size_t i = 0; i < at && i < len; i++) {
		if (text[i] == '\n') {
			++*line;
			*column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			++*column;
		}
	}
}

int lex_fail(const struct lex *l, uint32_t at, struct err *e, const char *fmt, ...)
{
	char what[320];
	unsigned line, column;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	lex_place(l->text, l->len, at, &line, &column);
	return err_set(e, ERR_CONFIG, "%s: line %u, column %u: %s", l->name, line, column, what);
}

int lex_expected(const struct lex *l, const char *expected, struct err *e)
{
	char found[64];
	if (l->tok.kind == TOK_END)
		return lex_fail(l, l->tok.at, e, "expected %s, found the end of the text", expected);
	err_escape(found, sizeof found, l->text + l->tok.at, l->tok.len);
	return lex_fail(l, l->tok.at, e, "expected %s, found %s`%s`", expected,
					l->tok.kind == TOK_BAD ? "something that is no token: " : "", found);
}

/* --- tokens -------------------------------------------------------------------------------------- */

static uint32_t skip_space(const struct lex *l, uint32_t pos)
{
	while (pos < l->len) {
		uint32_t cp = 0;
		unsigned n = utf8_at(l->text + pos, l->len - pos, &cp);
		if (cp == '/' && pos + 1 < l->len && l->text[pos + 1] == '/') {
			while (pos < l->len && l->text[pos] != '\n' && l->text[pos] != '\r')
				pos++;
		} else if (is_space(cp)) {
			pos += n;
		} else {
			break;
		}
	}
	return pos;
}

enum lex_word lex_word_of(const char *s, size_t len)
{
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (words[i].len == len && memcmp(words[i].text, s, len) == 0)
			return words[i].word;
	return WORD_NONE;
}

static void scan_run(const struct lex *l, struct token *t, bool (*more)(unsigned char))
{
	while (t->at + t->len < l->len && more((unsigned char)l->text[t->at + t->len]))
		t->len++;
}

static void scan_string(const struct lex *l, struct token *t)
{
	uint32_t i = t->at + 1;
	while (i < l->len && l->text[i] != '"') {
		if (l->text[i] == '\\' && (++i >= l->len || l->text[i] == '\n'))
			break;
		i++;
	}
	bool closed = i < l->len && l->text[i] == '"';
	t->kind = closed ? TOK_STRING : TOK_BAD;
	t->len = i - t->at + closed;
}

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static void scan_mark(const struct lex *l, struct token *t)
{
	const char *s = l->text + t->at;
	t->kind = TOK_BAD;
	t->len = 1;
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		size_t n = marks[i].len;
		if (*s != *marks[i].text || n > l->len - t->at || memcmp(s, marks[i].text, n) != 0)
			continue;
		t->kind = marks[i].kind;
		t->len = (uint32_t)n;
		return;
	}
}

static struct token scan(const struct lex *l, uint32_t pos)
{
	struct token t = {TOK_END, WORD_NONE, skip_space(l, pos), 0};
	if (t.at >= l->len)
		return t;
	unsigned char c = (unsigned char)l->text[t.at];
	if (ident_start(c)) {
		t.kind = TOK_IDENT;
		scan_run(l, &t, ident_more);
		t.word = lex_word_of(l->text + t.at, t.len);
	} else if (is_digit(c)) {
		t.kind = TOK_INT;
		scan_run(l, &t, is_digit);
	} else if (c == '"') {
		scan_string(l, &t);
	} else {
		scan_mark(l, &t);
	}
	if (t.kind == TOK_QUESTION && l->slots && t.at + 1 < l->len &&
		ident_start((unsigned char)l->text[t.at + 1])) {
		t.kind = TOK_SLOT;
		scan_run(l, &t, ident_more);
	}
	return t;
}

void lex_next(struct lex *l)
{
	l->tok = scan(l, l->pos);
	l->pos = l->tok.at + l->tok.len;
}

struct token lex_peek(const struct lex *l)
{
	return scan(l, l->pos);
}

int lex_init(struct lex *l, const char *name, const char *text, size_t len, bool slots, size_t max_bytes,
			 struct err *e)
{
	uint32_t cp;
	*l = (struct lex){.name = name, .text = text, .slots = slots};
	if (len > max_bytes || len > UINT32_MAX - 16)
		return err_set(e, ERR_LIMIT, "%s: has %zu bytes, at most %zu are read; split it", name, len,
					   max_bytes);
	l->len = (uint32_t)len;
	for (uint32_t i = 0, n; i < l->len; i += n) {
		n = utf8_at(text + i, l->len - i, &cp);
		if (!n)
			return lex_fail(l, i, e, "expected UTF-8 text, found the byte 0x%02x", (unsigned char)text[i]);
	}
	lex_next(l);
	return ERR_OK;
}

bool token_is(const struct lex *l, const struct token *t, const char *word)
{
	return t->kind == TOK_IDENT && t->len == strlen(word) && memcmp(l->text + t->at, word, t->len) == 0;
}

bool lex_is(const struct lex *l, const char *word)
{
	return token_is(l, &l->tok, word);
}

int lex_take(struct lex *l, enum lex_tok want, struct err *e)
{
	char text[8] = "?";
	if (l->tok.kind == want) {
		lex_next(l);
		return ERR_OK;
	}
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (marks[i].kind == want)
			snprintf(text, sizeof text, "`%s`", marks[i].text);
	return lex_expected(l, want == TOK_IDENT ? "an identifier" : want == TOK_STRING ? "a string" : text, e);
}

/* --- escapes ------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \u{...} at s (after the u); its length, 0 when it is malformed. */
static size_t escape_unicode(const char *s, size_t left, uint32_t *cp)
{
	size_t i = 1;
	int n = 0;
	*cp = 0;
	if (!left || s[0] != '{' || left < 2 || s[1] == '_')
		return 0;
	for (; i < left && s[i] != '}'; i++) {
		if (s[i] == '_')
			continue;
		int h = hex_digit(s[i]);
		if (h < 0 || ++n > 6)
			return 0;
		*cp = *cp << 4 | (uint32_t)h;
	}
	return i < left && n && *cp <= 0x10ffff && *cp >> 11 != 0x1b ? i + 1 : 0;
}

static size_t escape_hex(const char *s, size_t left, uint32_t *cp)
{
	int hi = left >= 2 ? hex_digit(s[0]) : -1, lo = left >= 2 ? hex_digit(s[1]) : -1;
	if (hi < 0 || hi > 7 || lo < 0)
		return 0;
	*cp = (uint32_t)(hi << 4 | lo);
	return 2;
}

/* The escape after a backslash at s: its length (0: unknown), its code point. */
static size_t escape_at(const char *s, size_t left, uint32_t *cp)
{
	static const char from[] = "\"\\'nrt0", to[] = "\"\\'\n\r\t\0";
	const char *p = left && *s ? strchr(from, *s) : NULL;
	if (p) {
		*cp = (unsigned char)to[p - from];
		return 1;
	}
	size_t n = 0;
	if (left && *s == 'x')
		n = escape_hex(s + 1, left - 1, cp);
	else if (left && *s == 'u')
		n = escape_unicode(s + 1, left - 1, cp);
	return n ? n + 1 : 0;
}

static int bad_escape(const struct lex *l, const struct token *t, uint32_t i, struct err *e)
{
	char text[24];
	uint32_t end = t->at + t->len - 1;
	err_escape(text, sizeof text, l->text + i, end - i < 8 ? end - i : 8);
	return lex_fail(l, i, e, "expected a valid escape, found `%s`", text);
}

/* Walks the string and hands each element to put: one to four bytes, or the wildcard (n = 0). */
static int walk_string(const struct lex *l, const struct token *t, bool pattern, void *to,
					   void (*put)(void *to, const char *p, unsigned n), struct err *e)
{
	uint32_t end = t->at + t->len - 1;
	for (uint32_t i = t->at + 1; i < end;) {
		const char *s = l->text + i;
		if (*s == '\r')
			return lex_fail(l, i, e, "expected no bare carriage return in a string, found one; write \\r");
		if (*s == '*' && pattern) {
			put(to, NULL, 0);
			i++;
		} else if (*s != '\\') {
			put(to, s, 1);
			i++;
		} else if (pattern && end - i > 1 && s[1] == '*') {
			put(to, "*", 1);
			i += 2;
		} else {
			uint32_t cp;
			char out[4];
			size_t n = escape_at(s + 1, end - i - 1, &cp);
			if (!n)
				return bad_escape(l, t, i, e);
			put(to, out, utf8_put(cp, out));
			i += (uint32_t)n + 1;
		}
	}
	return ERR_OK;
}

struct text_out {
	char *p;
	uint32_t n;
};

static void put_text(void *to, const char *p, unsigned n)
{
	struct text_out *o = to;
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

int lex_string(const struct lex *l, const struct token *t, struct arena *a, const char **out,
			   uint32_t *out_len, struct err *e)
{
	struct text_out o = {arena_alloc(a, t->len, 1), 0}; /* an escape is never shorter than its text */
	if (!o.p)
		return err_set(e, ERR_NOMEM, "%s: no memory for its strings", l->name);
	int rc = walk_string(l, t, false, &o, put_text, e);
	o.p[o.n] = 0;
	*out = o.p;
	*out_len = o.n;
	return rc;
}

struct pattern_out {
	uint16_t *p;
	uint32_t n;
};

static void put_pattern(void *to, const char *p, unsigned n)
{
	struct pattern_out *o = to;
	if (!n)
		o->p[o->n++] = LEX_WILDCARD;
	for (unsigned i = 0; i < n; i++)
		o->p[o->n++] = (unsigned char)p[i];
}

int lex_pattern(const struct lex *l, const struct token *t, struct arena *a, uint16_t **out,
				uint32_t *out_len, struct err *e)
{
	struct pattern_out o = {arena_alloc(a, t->len, sizeof *o.p), 0};
	if (!o.p)
		return err_set(e, ERR_NOMEM, "%s: no memory for its patterns", l->name);
	int rc = walk_string(l, t, true, &o, put_pattern, e);
	*out = o.p;
	*out_len = o.n;
	return rc;
}
