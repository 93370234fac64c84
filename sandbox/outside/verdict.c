/* SPDX-License-Identifier: Apache-2.0
 *
 * How a worker ended, as one word. Side: broker. Trusts: the kernel's wait status, the broker's notes.
 * Owns: nothing.
 */
#include "sandbox/sandbox.h"

#include <signal.h>

/* The limit is counted by ticks, the usage exactly: on a busy machine the two differ by a fifth. */
#define CPU_LIMIT_REACHED_MS(seconds) ((uint64_t)(seconds) * 750)

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
		[KILLED_REFUSED] = VERDICT_REFUSED,
	};
	return by_note[killed];
}

enum verdict verdict_of(const struct worker_end *end, const struct worker_notes *n)
{
	if (end->by_signal && end->code == SIGSYS)
		return VERDICT_REFUSED; /* also when a kill was under way: it had tried before */
	if (end->by_signal && end->code == SIGKILL && n->oom_counted)
		return VERDICT_MEMORY;
	if (end->by_signal && end->code == SIGKILL && n->killed == KILLED_NOT && n->cpu_seconds &&
	    end->cpu_ms >= CPU_LIMIT_REACHED_MS(n->cpu_seconds))
		return VERDICT_DEADLINE;
	if (end->by_signal && end->code == SIGKILL)
		return of_kill(n->killed);
	if (end->by_signal)
		return VERDICT_CRASH;
	if (n->killed != KILLED_NOT)
		return of_kill(n->killed); /* it left between the decision and the signal */
	return end->code == 0 && n->told_to_end ? VERDICT_CLEAN : VERDICT_CRASH;
}
