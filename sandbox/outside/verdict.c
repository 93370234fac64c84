/* SPDX-License-Identifier: Apache-2.0
 *
 * How a worker ended, as one word. Side: broker. Trusts: the kernel's wait status, the broker's notes.
 * Owns: nothing.
 */
#include "sandbox/sandbox.h"

#include <signal.h>

static const struct {
	const char *name;
	int code;
} rows[VERDICT__MAX] = {
#define VERDICT(sym, name, code) [sym] = { name, code },
	VERDICT_TABLE(VERDICT)
#undef VERDICT
};

const char *verdict_name(enum verdict v)
{
	return (unsigned)v < VERDICT__MAX ? rows[v].name : "?";
}

int verdict_err_code(enum verdict v)
{
	return (unsigned)v < VERDICT__MAX ? rows[v].code : ERR_INTERNAL;
}

static enum verdict of_kill(enum worker_killed killed)
{
	static const enum verdict by_note[] = {
		[KILLED_NOT] = VERDICT_MEMORY, /* a SIGKILL that nobody here sent */
		[KILLED_CANCEL] = VERDICT_CLEAN,
		[KILLED_DEADLINE] = VERDICT_DEADLINE,
		[KILLED_PROTOCOL] = VERDICT_PROTOCOL,
		[KILLED_UNLOCKED] = VERDICT_UNLOCKED,
	};
	return by_note[killed];
}

enum verdict verdict_of(const struct worker_end *end, const struct worker_notes *n)
{
	if (end->by_signal && end->code == SIGSYS)
		return VERDICT_REFUSED; /* also when a kill was under way: it had tried before */
	if (end->by_signal && end->code == SIGKILL)
		return n->oom_counted ? VERDICT_MEMORY : of_kill(n->killed);
	if (end->by_signal)
		return VERDICT_CRASH;
	if (n->killed != KILLED_NOT)
		return of_kill(n->killed); /* it left between the decision and the signal */
	return end->code == 0 && n->told_to_end ? VERDICT_CLEAN : VERDICT_CRASH;
}
