/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 (RFC 4648, section 4: standard alphabet, padded), strictly one text per value. Not libsodium's:
 * its decoder (1.0.18) takes some bytes above 0x7f for letters, so that two texts mean the same.
 *
 * Side: broker, auditor, cli. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_PROTO_B64_H
#define FUMEHOOD_PROTO_B64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters of n bytes, without a NUL. */
#define B64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes B64_LEN(len) characters and a NUL. */
void b64_put(const void *bytes, size_t len, char *out);

/* Decodes all of text. False when it is not the one encoding of some bytes (alphabet, length, padding,
 * spare bits not zero) or these are more than cap. Empty text is no bytes. */
bool b64_get(const char *text, size_t len, void *out, size_t cap, size_t *out_len);

#endif
