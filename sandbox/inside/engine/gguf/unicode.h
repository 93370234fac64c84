/* SPDX-License-Identifier: Apache-2.0
 *
 * What tokenizers ask of a character. Unicode 15.1.
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_GGUF_UNICODE_H
#define FUMEHOOD_GGUF_UNICODE_H

#include <stdint.h>

/* General categories by their first letter; white space of any category is UC_SPACE; what is not assigned,
 * and separators that are no white space, UC_OTHER. */
enum uclass { UC_OTHER, UC_LETTER, UC_NUMBER, UC_PUNCT, UC_SYMBOL, UC_MARK, UC_CONTROL, UC_SPACE };

enum uclass unicode_class(uint32_t c);
uint32_t unicode_lower(uint32_t c);     /* the simple mapping */
uint32_t unicode_nfd_first(uint32_t c); /* the first character of its canonical decomposition, or c */

#endif
