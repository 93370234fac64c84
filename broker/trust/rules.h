/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to broker/trust: what a parsed trust.note holds, and the questions that the other files ask it.
 * Side: broker, cli. Trusts: nothing. Owns: struct trust.
 */
#ifndef FUMEHOOD_BROKER_TRUST_RULES_H
#define FUMEHOOD_BROKER_TRUST_RULES_H

#include "broker/trust/lines.h"
#include "broker/trust/trust.h"

struct trust_signer {
	char id[TRUST_ID_MAX_BYTES + 1];
	uint8_t pk_sha256[HASH_BYTES];
};

struct trust_role {
	struct field glob;
	uint64_t threshold;
	uint64_t members; /* bit i: signer i */
};

struct trust_denial {
	uint8_t digest[HASH_BYTES]; /* SHA-256 of a key, or a model's root digest */
	uint64_t since;
	char reason[TRUST_REASON_MAX_BYTES + 1]; /* escaped */
};

struct trust_min {
	struct field model;
	uint64_t version;
};

struct trust {
	char *text; /* a copy of the whole note; fields point into it */
	size_t text_len;
	struct note note;
	uint8_t note_sha256[HASH_BYTES], text_sha256[HASH_BYTES];
	uint64_t version, issued, expires, root_threshold;
	struct note_key roots[LIMIT_TRUST_ROOTS];
	size_t n_roots;
	struct note_key signer_keys[LIMIT_TRUST_SIGNERS]; /* apart from signers: note_verify wants an array */
	struct trust_signer signers[LIMIT_TRUST_SIGNERS];
	size_t n_signers;
	struct trust_role roles[LIMIT_TRUST_ROLES];
	size_t n_roles;
	struct trust_min mins[LIMIT_TRUST_MIN_VERSIONS];
	size_t n_mins;
	struct trust_denial deny_keys[LIMIT_TRUST_DENIALS], deny_models[LIMIT_TRUST_DENIALS];
	size_t n_deny_keys, n_deny_models;
	struct note_key fresh_key;
	uint64_t fresh_max_age_s; /* 0: no freshness line */
	struct note_key logs[LIMIT_TRUST_LOGS];
	size_t n_logs;
};

/* The denial of this key (by SHA-256) that is in force now; NULL when there is none. */
const struct trust_denial *trust_key_denial(const struct trust *t, const uint8_t pk_sha256[HASH_BYTES],
                                            uint64_t now);
const struct trust_denial *trust_model_denial(const struct trust *t, const uint8_t root[HASH_BYTES]);

/* Says whether the signers in this set (bit i: signer i, denied ones already taken out) satisfy every role
 * that matches the model's name, and that at least one does. On false e tells which role lacks what. */
bool trust_roles_met(const struct trust *t, const char *name, uint64_t set, struct err *e);
/* Signers whose role matches the name. */
uint64_t trust_role_members(const struct trust *t, const char *name);

/* The lowest version that the trust.note allows for a model; 0: any. */
uint64_t trust_min_version(const struct trust *t, const char *name);

/* '*' stands for any characters. Iterative: patterns come from outside. */
bool trust_glob_match(struct field glob, const char *name, size_t len);

#endif
