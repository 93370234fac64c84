/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of policy and schema texts, on demand, with places for error messages.
 * Side: broker, cli. Trusts: nothing. Owns: nothing; tokens point into the text.
 */
#ifndef FUMEHOOD_POLICY_LEX_H
#define FUMEHOOD_POLICY_LEX_H

#include "policy/arena.h"
#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Punctuation: symbol and text; longer ones first where one begins another. */
#define LEX_MARKS(X)     \
	X(TOK_PATH, "::")    \
	X(TOK_EQ, "==")      \
	X(TOK_NE, "!=")      \
	X(TOK_LE, "<=")      \
	X(TOK_GE, ">=")      \
	X(TOK_AND, "&&")     \
	X(TOK_OR, "||")      \
	X(TOK_LPAREN, "(")   \
	X(TOK_RPAREN, ")")   \
	X(TOK_LBRACKET, "[") \
	X(TOK_RBRACKET, "]") \
	X(TOK_LBRACE, "{")   \
	X(TOK_RBRACE, "}")   \
	X(TOK_COMMA, ",")    \
	X(TOK_SEMI, ";")     \
	X(TOK_COLON, ":")    \
	X(TOK_AT, "@")       \
	X(TOK_DOT, ".")      \
	X(TOK_LT, "<")       \
	X(TOK_GT, ">")       \
	X(TOK_NOT, "!")      \
	X(TOK_PLUS, "+")     \
	X(TOK_MINUS, "-")    \
	X(TOK_STAR, "*")     \
	X(TOK_SLASH, "/")    \
	X(TOK_PERCENT, "%")  \
	X(TOK_ASSIGN, "=")   \
	X(TOK_QUESTION, "?")

/* Words that no identifier may be. */
#define LEX_WORDS(X)            \
	X(WORD_TRUE, "true")        \
	X(WORD_FALSE, "false")      \
	X(WORD_IF, "if")            \
	X(WORD_THEN, "then")        \
	X(WORD_ELSE, "else")        \
	X(WORD_IN, "in")            \
	X(WORD_LIKE, "like")        \
	X(WORD_HAS, "has")          \
	X(WORD_IS, "is")            \
	X(WORD_CEDAR, "__cedar")

enum lex_tok {
	TOK_END,
	TOK_IDENT,
	TOK_INT,
	TOK_STRING, /* with its quotes */
	TOK_SLOT,   /* ?name */
	TOK_BAD,
#define LEX_ENUM(sym, text) sym,
	LEX_MARKS(LEX_ENUM)
	TOK__MAX
};

enum lex_word {
	WORD_NONE, /* an ordinary identifier */
	LEX_WORDS(LEX_ENUM)
#undef LEX_ENUM
};

struct token {
	enum lex_tok kind;
	enum lex_word word; /* of a TOK_IDENT */
	uint32_t at, len;
};

struct lex {
	const char *name; /* of the text, for messages */
	const char *text;
	uint32_t len, pos;
	bool slots; /* ?name is one token (policies); else ? stands alone (schemas) */
	struct token tok;
};

/* Starts on a text of at most max_bytes bytes of valid UTF-8 and reads the first token. slots: a
 * ?name is one token. */
MUST_CHECK int lex_init(struct lex *l, const char *name, const char *text, size_t len, bool slots,
	size_t max_bytes, struct err *e);
/* Moves to the next token, which it also leaves in l->tok. */
void lex_next(struct lex *l);
/* The token after the current one. */
struct token lex_peek(const struct lex *l);

/* May c stand in an identifier, at its start or (more) behind that? */
bool lex_ident_char(unsigned char c, bool more);
/* Which reserved word these bytes are. */
enum lex_word lex_word_of(const char *s, size_t len);

/* Is the current token this identifier? */
bool lex_is(const struct lex *l, const char *word);
bool token_is(const struct lex *l, const struct token *t, const char *word);

/* Line and column (characters), from 1, of a byte offset. */
void lex_place(const char *text, size_t len, size_t at, unsigned *line, unsigned *column);

/* "NAME: line L, column C: expected X, found `Y`", code ERR_CONFIG. */
int lex_expected(const struct lex *l, const char *expected, struct err *e);
/* "NAME: line L, column C: TEXT" about the token t. */
int lex_fail(const struct lex *l, uint32_t at, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Consumes the token or fails. */
MUST_CHECK int lex_take(struct lex *l, enum lex_tok want, struct err *e);

/* The text of a string token without its escapes, in the arena. */
MUST_CHECK int lex_string(const struct lex *l, const struct token *t, struct arena *a, const char **out,
	uint32_t *out_len, struct err *e);
/* The same for a pattern: each element is a byte, or LEX_WILDCARD for *. */
#define LEX_WILDCARD 0x100
MUST_CHECK int lex_pattern(const struct lex *l, const struct token *t, struct arena *a, uint16_t **out,
	uint32_t *out_len, struct err *e);

#endif
