/* SPDX-License-Identifier: Apache-2.0
 *
 * A classic-BPF interpreter for seccomp programs, written from the kernel's definition of the
 * instructions and knowing nothing of libseccomp, with a count of which branches were taken.
 *
 * Side: tests. Trusts: nothing. Owns: the branch counts of one program.
 */
#ifndef FUMEHOOD_TESTS_BPF_WALK_H
#define FUMEHOOD_TESTS_BPF_WALK_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WALK_MAX 1024
#define WALK_BAD 0xffffffffu /* not a program that the kernel would take */

struct walk {
	const struct sock_filter *f;
	unsigned n;
	bool taken[WALK_MAX], not_taken[WALK_MAX], seen[WALK_MAX];
};

static inline uint32_t walk_run(struct walk *w, const struct seccomp_data *d)
{
	uint32_t a = 0;
	for (unsigned pc = 0; pc < w->n;) {
		const struct sock_filter *i = &w->f[pc];
		bool hit;
		w->seen[pc] = true;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (i->k % 4 || i->k > sizeof *d - 4)
				return WALK_BAD;
			memcpy(&a, (const char *)d + i->k, 4);
			pc++;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			pc++;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			pc += 1 + i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			hit = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			hit = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			hit = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			hit = (a & i->k) != 0;
			break;
		default:
			return WALK_BAD;
		}
		*(hit ? &w->taken[pc] : &w->not_taken[pc]) = true;
		pc += 1u + (hit ? i->jt : i->jf);
	}
	return WALK_BAD;
}

/* The first instruction that was not reached, or jump of which one side was not; -1 when all were. */
static inline int walk_uncovered(const struct walk *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		bool jump = (w->f[i].code & 7) == BPF_JMP && w->f[i].code != (BPF_JMP | BPF_JA);
		if (!w->seen[i] || (jump && (!w->taken[i] || !w->not_taken[i])))
			return (int)i;
	}
	return -1;
}

#endif
