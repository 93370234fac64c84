/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-tokenizers of byte-level BPE: how a text is cut into words before pairs are merged. Each rule is a
 * list of stages; a stage goes through every piece of the one before and cuts out what it matches, so that
 * what lies between matches is a piece, too. The patterns stand beside their functions as model makers
 * publish them; alternatives are tried in order.
 *
 * Side: inside. Trusts: nothing in a text. Owns: the list of pre-tokenizer names.
 * A new one: a row in rows, stages from here or a new one; vectors in tests/judges/gguf_tok_judge.py.
 */
#include "sandbox/inside/engine/gguf/tok_in.h"
#include "sandbox/inside/engine/gguf/utf8.h"

#include <string.h>

#define END 8 /* class behind the end */

bool chars_read(struct arena *a, const uint8_t *text, size_t n, struct chars *out)
{
	*out = (struct chars){ .cp = arena_array(a, n + 1, sizeof *out->cp), .cls = arena_alloc(a, n + 1),
		               .off = arena_array(a, n + 1, sizeof *out->off) };
	if (!out->cp || !out->cls || !out->off)
		return false;
	for (size_t i = 0, len; i < n; i += len) {
		uint32_t c;
		len = utf8_next(text + i, n - i, &c);
		if (!len) {
			c = 0xfffd;
			len = 1;
		}
		out->cp[out->n] = c;
		out->cls[out->n] = (uint8_t)unicode_class(c);
		out->off[out->n++] = (uint32_t)i;
	}
	out->off[out->n] = (uint32_t)n;
	return true;
}

static int cls(const struct chars *t, size_t pos, size_t end) { return pos < end ? t->cls[pos] : END; }
static uint32_t cp(const struct chars *t, size_t pos, size_t end) { return pos < end ? t->cp[pos] : UINT32_MAX; }

static size_t run_of(const struct chars *t, size_t pos, size_t end, int c)
{
	while (pos < end && t->cls[pos] == c)
		pos++;
	return pos;
}

/* Neither white space nor letter nor number. */
static bool is_rest(int c) { return c != UC_SPACE && c != UC_LETTER && c != UC_NUMBER && c != END; }

static size_t run_of_rest(const struct chars *t, size_t pos, size_t end)
{
	while (is_rest(cls(t, pos, end)))
		pos++;
	return pos;
}

static size_t line_ends(const struct chars *t, size_t pos, size_t end, bool slash)
{
	while (pos < end && (t->cp[pos] == '\r' || t->cp[pos] == '\n' || (slash && t->cp[pos] == '/')))
		pos++;
	return pos;
}

/* 's|'t|'re|'ve|'m|'ll|'d, in small letters or in any */
static size_t contraction(const struct chars *t, size_t pos, size_t end, bool any_case)
{
	uint32_t fold = any_case ? 0x20 : 0, a, b;
	if (cp(t, pos, end) != '\'' || pos + 1 >= end)
		return pos;
	a = t->cp[pos + 1] < 0x80 ? t->cp[pos + 1] | fold : 0;
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return pos + 2;
	b = pos + 2 < end && t->cp[pos + 2] < 0x80 ? t->cp[pos + 2] | fold : 0;
	if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
		return pos + 3;
	return pos;
}

/* \s+(?!\S)|\s+ : the run, without its last character when something else follows and one is left */
static size_t spaces(const struct chars *t, size_t pos, size_t end)
{
	size_t stop = run_of(t, pos, end, UC_SPACE);
	return stop - pos > 1 && stop < end ? stop - 1 : stop;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t gpt2(const struct chars *t, size_t pos, size_t end)
{
	size_t stop = contraction(t, pos, end, false), at = pos + (t->cp[pos] == ' ');
	int c = cls(t, at, end);
	if (stop > pos)
		return stop;
	if (c == UC_LETTER || c == UC_NUMBER)
		return run_of(t, at, end, c);
	if (is_rest(c))
		return run_of_rest(t, at, end);
	return spaces(t, pos, end);
}

/*  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ : the end of most younger patterns */
static size_t tail(const struct chars *t, size_t pos, size_t end, bool slash)
{
	size_t at = pos + (t->cp[pos] == ' '), stop;
	if (is_rest(cls(t, at, end)))
		return line_ends(t, run_of_rest(t, at, end), end, slash);
	stop = run_of(t, pos, end, UC_SPACE);
	for (size_t i = stop; i > pos; i--)
		if (t->cp[i - 1] == '\r' || t->cp[i - 1] == '\n')
			return i;
	return spaces(t, pos, end);
}

/* (?i:contraction)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| and the tail; with contractions or not */
static size_t younger(const struct chars *t, size_t pos, size_t end, size_t digits, bool contractions)
{
	size_t stop = contractions ? contraction(t, pos, end, true) : pos;
	int c = t->cls[pos];
	if (stop > pos)
		return stop;
	if (c == UC_LETTER)
		return run_of(t, pos, end, UC_LETTER);
	if (c != UC_NUMBER && t->cp[pos] != '\r' && t->cp[pos] != '\n' && cls(t, pos + 1, end) == UC_LETTER)
		return run_of(t, pos + 1, end, UC_LETTER);
	if (c == UC_NUMBER)
		return run_of(t, pos, end - pos > digits ? pos + digits : end, UC_NUMBER);
	return tail(t, pos, end, false);
}

static size_t llama3(const struct chars *t, size_t pos, size_t end) { return younger(t, pos, end, 3, true); }
static size_t qwen2(const struct chars *t, size_t pos, size_t end) { return younger(t, pos, end, 1, true); }

static bool is_word(int c) { return c == UC_LETTER || c == UC_MARK; }

/* As qwen2 with [\p{L}\p{M}]+ for words and [^\s\p{L}\p{M}\p{N}]+ for the rest */
static size_t qwen35(const struct chars *t, size_t pos, size_t end)
{
	size_t stop = contraction(t, pos, end, true), at = pos;
	int c = t->cls[pos];
	if (stop > pos)
		return stop;
	if (!is_word(c) && c != UC_NUMBER && t->cp[pos] != '\r' && t->cp[pos] != '\n')
		at++;
	if (is_word(cls(t, at, end))) {
		while (is_word(cls(t, at, end)))
			at++;
		return at;
	}
	if (c == UC_NUMBER)
		return pos + 1;
	at = pos + (t->cp[pos] == ' ');
	if (is_rest(cls(t, at, end)) && cls(t, at, end) != UC_MARK) {
		while (is_rest(cls(t, at, end)) && cls(t, at, end) != UC_MARK)
			at++;
		return line_ends(t, at, end, false);
	}
	return tail(t, pos, end, false);
}

/* Letters that are not a-z, and letters that are not A-Z: what reference readers take for upper and lower case. */
static bool is_upper(const struct chars *t, size_t i, size_t end)
{
	return cls(t, i, end) == UC_LETTER && !(t->cp[i] >= 'a' && t->cp[i] <= 'z');
}
static bool is_lower(const struct chars *t, size_t i, size_t end)
{
	return cls(t, i, end) == UC_LETTER && !(t->cp[i] >= 'A' && t->cp[i] <= 'Z');
}

/* U*L+|U+L* from pos, as a matcher that goes back would find it: letters of both kinds are given back last. */
static size_t cased(const struct chars *t, size_t pos, size_t end)
{
	size_t up = pos, at;
	while (is_upper(t, up, end))
		up++;
	for (at = up; is_lower(t, at, end); at++)
		;
	if (at > up)
		return at;
	for (at = up; at > pos; at--)
		if (is_lower(t, at - 1, end))
			return at;
	return up;
}

/* [^\r\n\p{L}\p{N}]?cased(contraction)?|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n/]*| .. */
static size_t by_case(const struct chars *t, size_t pos, size_t end, size_t digits, bool contractions)
{
	int c = t->cls[pos];
	size_t at = pos;
	if (c != UC_LETTER && c != UC_NUMBER && t->cp[pos] != '\r' && t->cp[pos] != '\n')
		at++;
	if (cls(t, at, end) == UC_LETTER) {
		at = cased(t, at, end);
		return contractions ? contraction(t, at, end, true) : at;
	}
	if (c == UC_NUMBER)
		return run_of(t, pos, end - pos > digits ? pos + digits : end, UC_NUMBER);
	return tail(t, pos, end, true);
}

static size_t tekken(const struct chars *t, size_t pos, size_t end) { return by_case(t, pos, end, 1, false); }
static size_t gpt4o(const struct chars *t, size_t pos, size_t end) { return by_case(t, pos, end, 3, true); }

/* --- stages that cut out one thing --------------------------------------------------------------------- */

/* \p{N} */
static size_t one_number(const struct chars *t, size_t pos, size_t end)
{
	return pos + (cls(t, pos, end) == UC_NUMBER);
}

/* \p{N}+ */
static size_t numbers(const struct chars *t, size_t pos, size_t end) { return run_of(t, pos, end, UC_NUMBER); }

/* [0-9][0-9][0-9] */
static size_t three_digits(const struct chars *t, size_t pos, size_t end)
{
	for (size_t i = 0; i < 3; i++)
		if (cp(t, pos + i, end) - '0' > 9)
			return pos;
	return pos + 3;
}

static size_t punct_or(const struct chars *t, size_t pos, size_t end, const char *more)
{
	while (pos < end && (t->cls[pos] == UC_PUNCT || (t->cp[pos] < 0x80 && t->cp[pos] && strchr(more, (int)t->cp[pos]))))
		pos++;
	return pos;
}

/* [\p{P}\$\+<=>\^~\|]+ and the same with ` */
static size_t punct(const struct chars *t, size_t pos, size_t end) { return punct_or(t, pos, end, "$+<=>^~|"); }
static size_t punct_falcon(const struct chars *t, size_t pos, size_t end) { return punct_or(t, pos, end, "$+<=>^~|`"); }

/* [\r\n] */
static size_t one_line_end(const struct chars *t, size_t pos, size_t end)
{
	return pos + (cp(t, pos, end) == '\r' || cp(t, pos, end) == '\n');
}

static size_t spaced(const struct chars *t, size_t pos, size_t end, int c)
{
	size_t at = pos + (cls(t, pos, end) == UC_SPACE), stop = run_of(t, at, end, c);
	return stop > at ? stop : pos;
}

/* \s?\p{L}+ and \s?\p{P}+ */
static size_t spaced_letters(const struct chars *t, size_t pos, size_t end) { return spaced(t, pos, end, UC_LETTER); }

static size_t spaced_punct(const struct chars *t, size_t pos, size_t end) { return spaced(t, pos, end, UC_PUNCT); }

/* [U+0800-U+9FA5 U+AC00-U+D7FF]+ */
static size_t ideographs(const struct chars *t, size_t pos, size_t end)
{
	while (pos < end && ((t->cp[pos] >= 0x800 && t->cp[pos] <= 0x9fa5) || (t->cp[pos] >= 0xac00 && t->cp[pos] <= 0xd7ff)))
		pos++;
	return pos;
}

/* --- the list -------------------------------------------------------------------------------------------- */

#define STAGES(...) { __VA_ARGS__ }
#define BY_DIGIT STAGES(one_number, gpt2)

static const struct pre_row rows[] = {
	{ "default", false, false, STAGES(punct, gpt2, numbers, three_digits) },
	{ "llama-bpe", true, true, STAGES(llama3) },
	{ "llama3", true, true, STAGES(llama3) },
	{ "llama-v3", true, true, STAGES(llama3) },
	{ "falcon3", true, true, STAGES(llama3) },
	{ "falcon-h1", true, true, STAGES(llama3) },
	{ "pixtral", true, true, STAGES(llama3) },
	{ "lfm2", true, true, STAGES(llama3) },
	{ "dbrx", false, false, STAGES(llama3) },
	{ "smaug-bpe", false, false, STAGES(llama3) },
	{ "gpt-2", false, false, STAGES(gpt2) },
	{ "phi-2", false, false, STAGES(gpt2) },
	{ "mpt", false, false, STAGES(gpt2) },
	{ "olmo", false, false, STAGES(gpt2) },
	{ "exaone4", false, false, STAGES(gpt2) },
	{ "starcoder", false, false, BY_DIGIT },
	{ "refact", false, false, BY_DIGIT },
	{ "command-r", false, false, BY_DIGIT },
	{ "smollm", false, false, BY_DIGIT },
	{ "codeshell", false, false, BY_DIGIT },
	{ "exaone", false, false, BY_DIGIT },
	{ "minerva-7b", false, false, BY_DIGIT },
	{ "falcon", false, false, STAGES(punct_falcon, gpt2, three_digits) },
	{ "qwen2", false, false, STAGES(qwen2) },
	{ "deepseek-r1-qwen", false, false, STAGES(qwen2) },
	{ "stablelm2", false, false, STAGES(qwen2) },
	{ "megrez", false, false, STAGES(qwen2) },
	{ "qwen35", false, false, STAGES(qwen35) },
	{ "tekken", true, true, STAGES(tekken) },
	{ "gpt-4o", false, false, STAGES(gpt4o) },
	{ "llama4", false, false, STAGES(gpt4o) },
	{ "deepseek-coder", false, false, STAGES(one_line_end, spaced_letters, spaced_punct, ideographs, one_number) },
};

const struct pre_row *pre_find(struct gguf_str name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (gguf_str_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}

/* Cuts [start, end) by one stage; appends ends of pieces. */
static size_t cut(pre_match match, const struct chars *t, size_t start, size_t end, uint32_t *ends, size_t n)
{
	size_t from = start;
	for (size_t pos = start; pos < end;) {
		size_t stop = match(t, pos, end);
		if (stop == pos) {
			pos++;
			continue;
		}
		if (pos > from)
			ends[n++] = (uint32_t)pos;
		ends[n++] = (uint32_t)stop;
		from = pos = stop;
	}
	if (end > from)
		ends[n++] = (uint32_t)end;
	return n;
}

size_t pre_split(const struct pre_row *p, const struct chars *t, uint32_t *ends, uint32_t *other)
{
	uint32_t *from = ends, *to = other;
	size_t n = t->n > 0;
	if (n)
		from[0] = (uint32_t)t->n;
	for (int s = 0; s < PRE_STAGES && p->stages[s]; s++) {
		size_t k = 0;
		for (size_t i = 0, start = 0; i < n; start = from[i++])
			k = cut(p->stages[s], t, start, from[i], to, k);
		uint32_t *swap = from;
		from = to;
		to = swap;
		n = k;
	}
	if (from != ends)
		memcpy(ends, from, n * sizeof *ends);
	return n;
}
