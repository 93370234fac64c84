/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the tokenizer's files: see tok.h.
 * Side: inside. Trusts: what tok_vocab.c checked. Owns: nothing.
 */
#ifndef FUMEHOOD_GGUF_TOK_IN_H
#define FUMEHOOD_GGUF_TOK_IN_H

#include "sandbox/inside/engine/gguf/tok.h"
#include "sandbox/inside/engine/gguf/unicode.h"

enum tok_kind { KIND_SPM, KIND_BPE, KIND_WPM };
enum tok_type { TT_NONE, TT_NORMAL, TT_UNKNOWN, TT_CONTROL, TT_USER, TT_UNUSED, TT_BYTE };

struct tok {
	struct gguf_str text; /* first: the map looks here */
	float score;
	uint8_t type;
	bool end, rstrip;     /* ends an answer; swallows white space behind it when parsed */
};

/* One row per merge pair: open addressing on (left, right). */
struct merge {
	uint64_t pair;        /* left << 32 | right */
	uint32_t rank;
	uint32_t id;          /* of the merged token; TOK_NONE: an empty row */
};

/* A text as characters. A byte that is no UTF-8 is a character of its own, classed as U+FFFD. */
struct chars {
	uint32_t *cp;
	uint8_t *cls;         /* enum uclass */
	uint32_t *off;        /* n + 1 of them */
	size_t n;
};

/* Finds a match at pos, inside [pos, end): its end, or pos when there is none. */
typedef size_t (*pre_match)(const struct chars *t, size_t pos, size_t end);

#define PRE_STAGES 5
struct pre_row {
	const char *name;
	bool whole;           /* a word that is a token is taken as it is, before merging */
	bool bos;
	pre_match stages[PRE_STAGES];
};

struct tokenizer {
	enum tok_kind kind;
	struct tok *toks;
	uint32_t n_toks;
	size_t max_len;       /* of a token's text */
	struct strmap map;
	struct merge *merges;
	uint32_t merge_mask;
	uint32_t byte_id[256];
	const struct pre_row *pre;
	bool add_bos, add_eos, add_prefix, lower, strip;
	uint32_t bos, eos, unk, sep;
	/* Tokens that are found in a text before it is tokenized, by their first byte: bit l - 1 of lengths. */
	uint64_t lengths[256][LIMIT_GGUF_SPECIAL_BYTES / 64];
	uint16_t longest[256];
};

/* One text on its way. */
struct tok_run {
	const struct tokenizer *t;
	struct arena *a;
	uint32_t *ids;
	size_t n, cap;
	uint64_t fuel;        /* bytes that may still be looked at beyond the text itself */
	struct err *e;
};

int tok_emit(struct tok_run *r, uint32_t id);
/* False when the budget is used up. */
bool tok_burn(struct tok_run *r, uint64_t n);
int tok_exhausted(struct tok_run *r);
int tok_no_room(struct tok_run *r);

const struct pre_row *pre_find(struct gguf_str name);
/* Splits: writes the end of each piece, at most t->n of them; other is room for as many. */
size_t pre_split(const struct pre_row *p, const struct chars *t, uint32_t *ends, uint32_t *other);
bool chars_read(struct arena *a, const uint8_t *text, size_t n, struct chars *out);

const struct merge *merge_find(const struct tokenizer *t, uint32_t left, uint32_t right);

int bpe_encode(struct tok_run *r, const uint8_t *text, size_t n);
int spm_encode(struct tok_run *r, const uint8_t *text, size_t n, bool prefix);
int wpm_encode(struct tok_run *r, const uint8_t *text, size_t n);

/* How byte-level vocabularies write a byte: a character for each; and back (-1: none). */
uint32_t byte_char(uint8_t b);
int char_byte(uint32_t cp);

#endif
