/* SPDX-License-Identifier: Apache-2.0
 *
 * What broker.c gives its parts, for unit tests: one that fails is remembered.
 * Side: tests. Trusts: nothing. Owns: the last failure.
 */
#ifndef FUMEHOOD_UNIT_BROKER_ENV_H
#define FUMEHOOD_UNIT_BROKER_ENV_H

#include "broker/broker.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct err env_failure;

void broker_fail(struct broker *b, const struct err *e)
{
	(void)b;
	env_failure = *e;
}

void broker_client_gone(struct broker *b) { (void)b; }
void broker_say(const char *fmt, ...) { (void)fmt; }

#endif
