/* SPDX-License-Identifier: Apache-2.0
 *
 * What policy is asked, and what it said: turns a caller, an action and a model into Cedar's principal,
 * action, resource, entities and context. Names are those of the shipped schema (namespace Gate).
 *
 *   principal  Gate::User::"<numeric uid>"              attribute uid; groups and the rest from entities
 *              Gate::Service::"fumehood"                the broker itself, when it loads on first use
 *   resource   Gate::Model::"<name>" (admitted) or Gate::Server::"fumehood"
 *   context    as the schema's types Base, and Use for infer and run
 *
 * Attributes of a model that the broker knows: name, version, digest, format, bytes, signatures, logged,
 * and license (Gate::License::"<licence of the note>") where the note has one. All others (quarantined,
 * dataClass, maxInputBytes, sandboxTier, ..) come from the entities file; a policy that reads one which
 * is in neither place errs, and a forbid that errs denies.
 *
 * context.sandboxTier is 2 when every layer of the wall stands, 1 when optional ones are missing.
 * context.time is UTC; weekday 1 is Monday, 7 is Sunday. context.batch is the largest first extent of
 * the inputs. context.rate counts infer and run, this call included.
 *
 * Side: broker. Trusts: policy and entities files as the operator's. Owns: the world, the rates.
 */
#ifndef FUMEHOOD_BROKER_FACTS_H
#define FUMEHOOD_BROKER_FACTS_H

#include "broker/conf.h"
#include "broker/models.h"
#include "broker/rate.h"

#define FACTS_NAMES_MAX 16
#define FACTS_TEXT_BYTES 128

struct facts;

/* Loads policy, schema and entities of the configuration. owner_only: the built-in policy of a private
 * broker instead, which permits everything to owner_uid and nothing to anybody else.
 * Errors: ERR_CONFIG (an unknown @isolation among them) and others of policy_load_*. */
MUST_CHECK int facts_new(const struct conf *c, bool owner_only, uint32_t owner_uid, struct facts **out,
                         struct err *e);
void facts_free(struct facts *f);

const char *facts_policy_digest(const struct facts *f); /* hex SHA-256 of the policies' text */
unsigned facts_n_policies(const struct facts *f);
struct rate *facts_rate(struct facts *f);

/* One question. Strings may be NULL where absent. */
struct facts_ask {
	uint32_t uid;
	bool as_service;            /* the principal is the broker itself */
	const char *action;
	const struct model *model;  /* NULL: the server is the resource */
	const char *purpose;
	bool is_use;                /* infer, run: the context has what follows, and the call is counted */
	uint64_t input_bytes;
	uint64_t n_tensors;
	int64_t batch;
	uint64_t missing_layers;
	int64_t now_unix, now_mono_s;
};

struct facts_answer {
	bool allow;
	enum isolation isolation;   /* of an allowed call: who may share its worker */
	bool is_explicit;           /* a policy said so; false: nobody did, which denies */
	unsigned n_policies, n_errors;
	char policies[FACTS_NAMES_MAX][FACTS_TEXT_BYTES];  /* annotation id, else policyN; escaped */
	char errors[FACTS_NAMES_MAX][FACTS_TEXT_BYTES];
};

/* Decides. An error of the evaluation as a whole is a denial too, with its text among the errors. */
void facts_decide(struct facts *f, const struct facts_ask *ask, struct facts_answer *out);

#endif
