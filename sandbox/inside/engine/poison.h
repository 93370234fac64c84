/* SPDX-License-Identifier: Apache-2.0
 *
 * In builds with AddressSanitizer memory of an arena is forbidden until it is handed out, and a gap
 * behind every piece stays forbidden: an overrun inside the arena is seen. In other builds: nothing.
 *
 * Side: inside. Trusts: nothing. Owns: nothing.
 */
#ifndef FUMEHOOD_ENGINE_POISON_H
#define FUMEHOOD_ENGINE_POISON_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON_GAP 64
static inline void poison(const void *p, size_t n) { __asan_poison_memory_region(p, n); }
static inline void unpoison(const void *p, size_t n) { __asan_unpoison_memory_region(p, n); }
#else
#define POISON_GAP 0
static inline void poison(const void *p, size_t n) { (void)p, (void)n; }
static inline void unpoison(const void *p, size_t n) { (void)p, (void)n; }
#endif

#endif
