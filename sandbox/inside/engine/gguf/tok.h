/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to tokens and back, from a file's own vocabulary: SentencePiece BPE with scores ("llama"), byte-level
 * BPE ("gpt2") with the pre-tokenizers that tok_pre.c lists, WordPiece ("bert").
 *
 * Side: inside. Trusts: nothing in the vocabulary, nothing in texts. Owns: nothing: tables lie in the model's
 * arena, what one text needs in a scratch arena. No recursion; time is n log n, and bounded by a budget where
 * a vocabulary could make it worse.
 *
 * Any bytes are text. SentencePiece with byte tokens and byte-level BPE keep bytes that are no UTF-8; where a
 * byte-level vocabulary has no token for such a byte, it becomes U+FFFD. A character whose bytes have no token
 * (vocabularies lack some control characters) leaves nothing, as in other readers.
 */
#ifndef FUMEHOOD_GGUF_TOK_H
#define FUMEHOOD_GGUF_TOK_H

#include "sandbox/inside/engine/gguf/gguf.h"

enum {
	TOK_ADD = 1,    /* what the file wants around a text: beginning, end */
	TOK_PARSE = 2,  /* control tokens that stand in the text are tokens; without it they are letters */
	TOK_SHOW = 4,   /* decoding: control tokens are written */
};

#define TOK_NONE UINT32_MAX

/* Builds the tokenizer of a model.
 * Errors: ERR_MODEL (lists that contradict each other), ERR_UNSUPPORTED (kind or pre-tokenizer: named),
 * ERR_LIMIT. */
MUST_CHECK int tokenizer_open(struct arena *a, struct gguf_model *m, struct tokenizer **out, struct err *e);

/* Tokens of text, in scratch. Errors: ERR_LIMIT (text, scratch or budget). */
MUST_CHECK int tokenizer_encode(const struct tokenizer *t, struct arena *scratch, const uint8_t *text, size_t n,
                                unsigned flags, const uint32_t **ids, size_t *n_ids, struct err *e);

/* Text of tokens, in scratch: tokenizer_decode(tokenizer_encode(x)) = x, but for WordPiece, for bytes that have
 * no token, for U+2581, which SentencePiece takes for a blank, and for blanks that Phi-3's tokens swallow.
 * Errors: ERR_INPUT (an id beyond the vocabulary), ERR_LIMIT. */
MUST_CHECK int tokenizer_decode(const struct tokenizer *t, struct arena *scratch, const uint32_t *ids, size_t n,
                                unsigned flags, const uint8_t **text, size_t *n_text, struct err *e);

uint32_t tokenizer_size(const struct tokenizer *t);
struct gguf_str tokenizer_text(const struct tokenizer *t, uint32_t id); /* as the file writes it; id < size */
uint32_t tokenizer_bos(const struct tokenizer *t); /* TOK_NONE when there is none */
uint32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t);
/* True for each token that ends an answer, found by key and by text. */
bool tokenizer_is_end(const struct tokenizer *t, uint32_t id);
bool tokenizer_is_control(const struct tokenizer *t, uint32_t id);

#endif
