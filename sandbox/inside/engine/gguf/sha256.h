/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 for the digests that an inspection shows (the worker links no cryptography: nothing is decided
 * by this one; the broker hashes what counts).
 *
 * Side: inside. Trusts: nothing. Owns: nothing. Source: FIPS 180-4.
 */
#ifndef FUMEHOOD_GGUF_SHA256_H
#define FUMEHOOD_GGUF_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Writes the 64 hexadecimal digits and a NUL. */
void sha256_hex(const uint8_t *p, size_t n, char out[65]);

#endif
