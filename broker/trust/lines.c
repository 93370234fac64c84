/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines and fields: see lines.h. The note around the text has checked UTF-8 and control characters; the
 * state file has no note around it, so nothing here relies on that.
 * Side: broker, cli. Trusts: nothing. Owns: nothing.
 */
#include "broker/trust/lines.h"

#include "proto/note.h"

#include <string.h>

bool field_next(struct field *rest, struct field *out)
{
	if (!rest->p)
		return false;
	const char *space = memchr(rest->p, ' ', rest->len);
	*out = (struct field){ rest->p, space ? (size_t)(space - rest->p) : rest->len };
	if (space)
		*rest = (struct field){ space + 1, rest->len - out->len - 1 };
	else
		*rest = (struct field){ NULL, 0 };
	return out->len > 0;
}

bool field_last(struct field *rest, struct field *out)
{
	return field_next(rest, out) && !rest->p;
}

bool field_is(struct field f, const char *text)
{
	return f.len == strlen(text) && memcmp(f.p, text, f.len) == 0;
}

bool field_copy(struct field f, char *out, size_t cap)
{
	if (!f.p || f.len >= cap || memchr(f.p, 0, f.len))
		return false;
	memcpy(out, f.p, f.len);
	out[f.len] = 0;
	return true;
}

bool field_u64(struct field f, uint64_t *out)
{
	return f.p && note_decimal(f.p, f.len, out);
}

bool field_hex(struct field f, uint8_t out[HASH_BYTES])
{
	return f.p && hash_from_hex(f.p, f.len, out, NULL) == ERR_OK;
}

bool field_sha256(struct field f, uint8_t out[HASH_BYTES])
{
	static const char mark[] = "sha256:";
	size_t n = sizeof mark - 1;
	if (!f.p || f.len < n || memcmp(f.p, mark, n) != 0)
		return false;
	return field_hex((struct field){ f.p + n, f.len - n }, out);
}

/* What an unknown line may look like: a word of printable ASCII that does not begin with a capital. A
 * line that only looks like a known one (other spaces, other dashes) must not be passed over. */
static bool may_be_ignored(struct field word)
{
	for (size_t i = 0; i < word.len; i++)
		if (word.p[i] <= ' ' || word.p[i] > '~')
			return false;
	return word.p[0] < 'A' || word.p[0] > 'Z';
}

static int line_read(struct field line, const struct line_rule *rules, size_t n_rules, unsigned *counts,
                     void *into, struct err *e)
{
	struct field rest = line, word;
	char shown[64];
	if (!field_next(&rest, &word))
		return err_set(e, ERR_SIGNATURE, "empty, or begins with a space");
	err_escape(shown, sizeof shown, word.p, word.len);
	for (size_t i = 0; i < n_rules; i++) {
		if (!field_is(word, rules[i].word))
			continue;
		if (++counts[i] > rules[i].max)
			return err_set(e, rules[i].max == 1 ? ERR_SIGNATURE : ERR_LIMIT,
			               "\"%s\" stands more than %u times", shown, rules[i].max);
		int rc = rules[i].read(into, rest, e);
		return rc == ERR_OK ? rc : err_prefix(e, "%s", shown);
	}
	if (!may_be_ignored(word))
		return err_set(e, ERR_SIGNATURE, "\"%s\" is not known and must not be passed over: update fumehood, or "
		               "correct the line", shown);
	return ERR_OK;
}

int lines_read(const char *what, const char *header, const char *text, size_t len,
               const struct line_rule *rules, size_t n_rules, void *into, struct err *e)
{
	unsigned counts[LINES_RULES_MAX] = { 0 };
	size_t at = 0;
	if (n_rules > LINES_RULES_MAX)
		return err_set(e, ERR_INTERNAL, "%s: too many rules", what);
	for (unsigned n = 1; at < len; n++) {
		const char *lf = memchr(text + at, '\n', len - at);
		if (!lf)
			return err_set(e, ERR_SIGNATURE, "%s line %u: does not end", what, n);
		struct field line = { text + at, (size_t)(lf - text) - at };
		at += line.len + 1;
		if (n == 1 && !field_is(line, header))
			return err_set(e, ERR_SIGNATURE, "%s line 1: want \"%s\"", what, header);
		if (n > 1 && line_read(line, rules, n_rules, counts, into, e) != ERR_OK)
			return err_prefix(e, "%s line %u", what, n);
	}
	if (len == 0)
		return err_set(e, ERR_SIGNATURE, "%s: empty, want \"%s\" first", what, header);
	for (size_t i = 0; i < n_rules; i++)
		if (counts[i] < rules[i].min)
			return err_set(e, ERR_SIGNATURE, "%s: has no \"%s\" line", what, rules[i].word);
	return ERR_OK;
}
