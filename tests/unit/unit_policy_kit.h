/* SPDX-License-Identifier: Apache-2.0
 *
 * What the policy tests share: worlds from texts, the folder of shared data, files.
 * Side: tests. Trusts: the tests. Owns: nothing.
 */
#ifndef FUMEHOOD_UNIT_POLICY_KIT_H
#define FUMEHOOD_UNIT_POLICY_KIT_H

#include "policy/policy.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A sealed world of a policy text and, when not NULL, entities and a schema; NULL and *e on error. */
static inline struct policy_world *kit_world(const char *text, const char *entities, const char *schema,
											 enum policy_mode mode, struct err *e)
{
	struct policy_world *w = NULL;
	int rc = policy_world_new(&w, e);
	if (!rc)
		rc = policy_load_text(w, "test.cedar", text, strlen(text), e);
	if (!rc && schema)
		rc = policy_load_schema(w, "test.cedarschema", schema, strlen(schema), e);
	if (!rc && entities)
		rc = policy_load_entities(w, "test.json", entities, strlen(entities), mode, e);
	if (!rc)
		rc = policy_world_seal(w, e);
	if (rc) {
		policy_world_free(w);
		w = NULL;
	}
	return w;
}

/* $FUMEHOOD_SHARED/NAME, or ../shared/NAME beside the repository; false with one loud line when the
 * file is not there. The repository's root is the working directory of the tests. */
static inline bool kit_shared(const char *name, char path[PATH_MAX])
{
	const char *base = getenv("FUMEHOOD_SHARED");
	snprintf(path, PATH_MAX, "%s/%s", base && *base ? base : "../shared", name);
	if (access(path, R_OK) == 0)
		return true;
	printf("SKIP %s: not there (set FUMEHOOD_SHARED)\n", path);
	return false;
}

/* A text that grows; p is NUL ended once something was added, for the caller to free. */
struct kit_text {
	char *p;
	size_t n, cap;
};

static inline __attribute__((format(printf, 2, 3))) void kit_add(struct kit_text *t, const char *fmt, ...)
{
	char piece[512];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(piece, sizeof piece, fmt, ap);
	va_end(ap);
	assert_true(len >= 0 && (size_t)len < sizeof piece);
	if (t->n + (size_t)len >= t->cap) {
		t->cap = t->cap * 2 + sizeof piece;
		t->p = realloc(t->p, t->cap);
		assert_non_null(t->p);
	}
	memcpy(t->p + t->n, piece, (size_t)len + 1);
	t->n += (size_t)len;
}

/* A whole file, NUL ended, for the caller to free; NULL when it cannot be read. */
static inline char *kit_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *buf = NULL;
	long n;
	*len = 0;
	if (!f)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 &&
		(buf = malloc((size_t)n + 1)) != NULL) {
		*len = fread(buf, 1, (size_t)n, f);
		buf[*len] = 0;
	}
	fclose(f);
	return buf;
}

#endif
