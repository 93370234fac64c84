/* SPDX-License-Identifier: Apache-2.0
 *
 * Build-time program: turns call lists (*.rules) into ready BPF with libseccomp.
 *
 *   bpf_gen HEADER LISTING NAME=FILE...            for x86-64
 *   bpf_gen --arm64 HEADER LISTING NAME=FILE...    for arm64
 *   bpf_gen --names HEADER                         names of the calls by number, for reports
 *
 * HEADER gets one array per list (`filter_NAME`) with its counts, LISTING the same as text for review.
 * A list is lines; '#' starts a comment that must stand at the end of every row: the reason.
 *
 *   default ACTION            kill | enosys (user notification: with a listener a report, without one the
 *                             call answers ENOSYS; it is never executed, an inner filter that kills wins)
 *                             | allow (then the rows, numbers only, are what is killed)
 *   max N                     the build fails when the list has more calls than N
 *   max_insns N               the same for instructions
 *   use FILE                  the rows of another list as well
 *   CALL [TEST]... # reason   a call that is allowed; several rows of one call are alternatives
 *   CALL!NUMBER               a call that libseccomp does not know yet, with its number (above 423: the
 *                             same on every architecture)
 *   @arm64 CALL ..., @x86_64 CALL ...   a row for one architecture; a call that an architecture does not
 *                             have is left out there
 *
 * TEST:  aN==V    argument N equals V in all 64 bits        aN&M==V   (argument N and M) equals V
 *        aN<=V    at most V (64 bits)
 * V and M are C integers; M may be written ~M. Both 32-bit halves of an argument are always compared.
 * A foreign architecture and x32 numbers always kill.
 *
 * Side: build host. Trusts: the lists. Owns: the two output files.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CALLS 512
#define MAX_INSNS 4096
#define MAX_NEW 4
#define NAMES_MAX 512 /* numbers of the table of names */

static uint32_t arch; /* SCMP_ARCH_X86_64 or SCMP_ARCH_AARCH64 */

/* Calls that take the place of CALL!NUMBER until the program is made: libseccomp translates names from one
 * architecture to another, and these it cannot. No list may use them. */
static const char *const stand_ins[MAX_NEW] = { "vhangup", "swapon", "swapoff", "acct" };

struct list {
	const char *name, *file;
	scmp_filter_ctx ctx;
	long max, max_insns;
	bool has_default, allows;
	int new_calls[MAX_NEW]; /* numbers that the stand-ins stand for */
	unsigned n_new;
	int calls[MAX_CALLS];
	char call_names[MAX_CALLS][32];
	unsigned n_calls;
};

static void die(const char *file, int line, const char *what)
{
	fprintf(stderr, "bpf_gen: %s:%d: %s\n", file, line, what);
	exit(1);
}

static uint64_t number(const char **p, const char *file, int line)
{
	bool inverted = **p == '~';
	char *end;
	*p += inverted;
	errno = 0;
	uint64_t v = strtoull(*p, &end, 0);
	if (end == *p || errno)
		die(file, line, "a number was expected");
	*p = end;
	return inverted ? ~v : v;
}

static struct scmp_arg_cmp test(const char *p, const char *file, int line)
{
	if (p[0] != 'a' || p[1] < '0' || p[1] > '5')
		die(file, line, "a test begins with a0 .. a5");
	unsigned arg = (unsigned)(p[1] - '0');
	p += 2;
	struct scmp_arg_cmp c = { .arg = arg };
	if (*p == '&') {
		p++;
		c.op = SCMP_CMP_MASKED_EQ;
		c.datum_a = number(&p, file, line);
	} else if (!strncmp(p, "<=", 2)) {
		c.op = SCMP_CMP_LE;
	} else {
		c.op = SCMP_CMP_EQ;
	}
	if (strncmp(p, c.op == SCMP_CMP_LE ? "<=" : "==", 2))
		die(file, line, "== or <= was expected");
	p += 2;
	uint64_t v = number(&p, file, line);
	if (*p)
		die(file, line, "text behind the test");
	if (c.op == SCMP_CMP_MASKED_EQ)
		c.datum_b = v;
	else
		c.datum_a = v;
	return c;
}

static int new_call(struct list *l, const char *word, int nr, const char *file, int line)
{
	int known = seccomp_syscall_resolve_name(word);
	if (known >= 0 && known != nr)
		die(file, line, "libseccomp knows this call under another number");
	if (arch == SCMP_ARCH_X86_64)
		return nr;
	if (l->n_new == MAX_NEW)
		die(file, line, "too many calls with a number");
	l->new_calls[l->n_new] = nr;
	return seccomp_syscall_resolve_name(stand_ins[l->n_new++]);
}

static int call_number(struct list *l, char *word, const char *file, int line)
{
	char *bang = strchr(word, '!');
	int nr;
	if (bang) {
		const char *p = bang + 1;
		nr = (int)number(&p, file, line);
		*bang = 0;
		return new_call(l, word, nr, file, line);
	}
	nr = seccomp_syscall_resolve_name(word);
	if (nr == __NR_SCMP_ERROR)
		die(file, line, "unknown system call");
	return nr;
}

static void count_call(struct list *l, int nr, const char *word, int line)
{
	for (unsigned i = 0; i < l->n_calls; i++)
		if (l->calls[i] == nr)
			return;
	if (l->n_calls == MAX_CALLS)
		die(l->file, line, "too many calls");
	snprintf(l->call_names[l->n_calls], sizeof l->call_names[0], "%s", word);
	l->calls[l->n_calls++] = nr;
}

static void read_list(struct list *l, const char *file, bool used);

static void set_default(struct list *l, const char *word, const char *file, int line)
{
	static const struct { const char *word; uint32_t action; } actions[] = {
		{ "kill", SCMP_ACT_KILL_PROCESS }, { "enosys", SCMP_ACT_NOTIFY }, { "allow", SCMP_ACT_ALLOW },
	};
	for (unsigned i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (!strcmp(word, actions[i].word))
			l->ctx = seccomp_init(actions[i].action);
	l->allows = !strcmp(word, "allow");
	if (!l->ctx || seccomp_attr_set(l->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0)
		die(file, line, "default is kill, enosys or allow");
	if (arch != SCMP_ARCH_X86_64 &&
	    (seccomp_arch_add(l->ctx, arch) < 0 || seccomp_arch_remove(l->ctx, SCMP_ARCH_NATIVE) < 0))
		die(file, line, "libseccomp refuses the architecture");
	l->has_default = true;
}

/* The call's number on the architecture that the filter is for; negative when there is none. */
static int number_there(const struct list *l, const char *word, int nr)
{
	for (unsigned i = 0; i < l->n_new; i++)
		if (seccomp_syscall_resolve_name(stand_ins[i]) == nr)
			return l->new_calls[i];
	return arch == SCMP_ARCH_X86_64 ? nr : seccomp_syscall_resolve_name_arch(arch, word);
}

static void row(struct list *l, char **w, unsigned n, const char *file, int line)
{
	struct scmp_arg_cmp tests[6];
	if (!l->ctx)
		die(file, line, "the default comes first");
	if (w[0][0] == '@') {
		if (strcmp(w[0] + 1, arch == SCMP_ARCH_X86_64 ? "x86_64" : "arm64"))
			return;
		w++;
		n--;
	}
	int nr = call_number(l, w[0], file, line), there = number_there(l, w[0], nr);
	for (unsigned i = 1; i < n; i++)
		tests[i - 1] = test(w[i], file, line);
	if (l->allows && n > 1)
		die(file, line, "a list that allows has numbers only");
	if (there < 0)
		return; /* this architecture does not have it */
	if (!l->allows && seccomp_rule_add_array(l->ctx, SCMP_ACT_ALLOW, nr, n - 1, tests) < 0)
		die(file, line, "libseccomp refuses this row");
	count_call(l, there, w[0], line);
}

static bool keyword(struct list *l, char **w, const char *file, int line, bool used)
{
	if (!strcmp(w[0], "use")) {
		read_list(l, w[1], true);
		return true;
	}
	if (strcmp(w[0], "default") && strcmp(w[0], "max") && strcmp(w[0], "max_insns"))
		return false;
	if (used) /* a used list brings its rows only */
		return true;
	if (!strcmp(w[0], "default"))
		set_default(l, w[1], file, line);
	else if (!strcmp(w[0], "max"))
		l->max = strtol(w[1], NULL, 10);
	else
		l->max_insns = strtol(w[1], NULL, 10);
	return true;
}

static void read_list(struct list *l, const char *file, bool used)
{
	char buf[512];
	FILE *f = fopen(file, "r");
	if (!f)
		die(file, 0, strerror(errno));
	for (int line = 1; fgets(buf, sizeof buf, f); line++) {
		char *hash = strchr(buf, '#'), *w[8], *save = NULL;
		unsigned n = 0;
		bool reason = hash && strspn(hash + 1, " \t\n") < strlen(hash + 1);
		if (hash)
			*hash = 0;
		for (char *t = strtok_r(buf, " \t\n", &save); t; t = strtok_r(NULL, " \t\n", &save)) {
			if (n == 8)
				die(file, line, "too many words");
			w[n++] = t;
		}
		if (n == 0)
			continue;
		if (n == 2 && keyword(l, w, file, line, used))
			continue;
		if (!reason)
			die(file, line, "a row ends with '# reason'");
		if (n > 7)
			die(file, line, "at most 6 tests");
		row(l, w, n, file, line);
	}
	fclose(f);
}

/* The door: numbers alone, so that it stays six instructions. */
static unsigned door_bpf(const struct list *l, struct sock_filter *out)
{
	unsigned n = 0;
	out[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
	for (unsigned i = 0; i < l->n_calls; i++)
		out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)l->calls[i],
		                                        (uint8_t)(l->n_calls - i), 0);
	out[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SCMP_ACT_ALLOW);
	out[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SCMP_ACT_KILL_PROCESS);
	return n;
}

/* Puts the real numbers where stand-ins are compared. Each is compared for equality only. */
static void replace_stand_ins(const struct list *l, struct sock_filter *f, unsigned n)
{
	for (unsigned s = 0; s < l->n_new; s++) {
		unsigned found = 0;
		uint32_t from = (uint32_t)seccomp_syscall_resolve_name_arch(arch, stand_ins[s]);
		for (unsigned i = 0; i < n; i++)
			if (BPF_CLASS(f[i].code) == BPF_JMP && f[i].k == from) {
				if (f[i].code != (BPF_JMP | BPF_JEQ | BPF_K))
					die(l->file, 0, "a stand-in is not compared for equality");
				f[i].k = (uint32_t)l->new_calls[s];
				found++;
			}
		if (found != 1)
			die(l->file, 0, "a stand-in was not found once");
	}
}

static unsigned export_bpf(struct list *l, struct sock_filter *out)
{
	if (l->allows)
		return door_bpf(l, out);
	FILE *t = tmpfile();
	if (!t || seccomp_export_bpf(l->ctx, fileno(t)) < 0)
		die(l->file, 0, "the filter cannot be exported");
	rewind(t);
	size_t n = fread(out, sizeof *out, MAX_INSNS, t);
	fclose(t);
	if (n == 0 || n == MAX_INSNS)
		die(l->file, 0, "the filter has no or too many instructions");
	replace_stand_ins(l, out, (unsigned)n);
	return (unsigned)n;
}

static void check_limits(const struct list *l, unsigned n_insns)
{
	if (l->max && l->n_calls > l->max)
		die(l->file, 0, "more calls than the list allows (max)");
	if (l->max_insns && n_insns > l->max_insns)
		die(l->file, 0, "more instructions than the list allows (max_insns)");
}

static void emit(struct list *l, FILE *h, FILE *text)
{
	static struct sock_filter insns[MAX_INSNS];
	char upper[64];
	unsigned n = export_bpf(l, insns);
	check_limits(l, n);
	for (size_t i = 0; i <= strlen(l->name); i++)
		upper[i] = (char)toupper((unsigned char)l->name[i]);
	fprintf(h, "\n#define FILTER_%s_CALLS %u\n#define FILTER_%s_INSNS %u\n", upper, l->n_calls, upper, n);
	fprintf(h, "static const struct sock_filter filter_%s[FILTER_%s_INSNS] __attribute__((unused)) = {\n",
	        l->name, upper);
	for (unsigned i = 0; i < n; i++)
		fprintf(h, "\t{ 0x%02x, %u, %u, 0x%08x },\n", insns[i].code, insns[i].jt, insns[i].jf, insns[i].k);
	fprintf(h, "};\nstatic const short filter_%s_calls[FILTER_%s_CALLS] __attribute__((unused)) = {",
	        l->name, upper);
	for (unsigned i = 0; i < l->n_calls; i++)
		fprintf(h, "%s%d", i ? ", " : " ", l->calls[i]);
	fprintf(h, " };\n");
	fprintf(text, "%s: %u calls, %u instructions:", l->name, l->n_calls, n);
	for (unsigned i = 0; i < l->n_calls; i++)
		fprintf(text, " %s", l->call_names[i]);
	fprintf(text, "\n");
	fflush(text);
	if (!l->allows && seccomp_export_pfc(l->ctx, fileno(text)) < 0)
		die(l->file, 0, "the filter cannot be listed");
	fprintf(text, "\n");
}

/* Calls newer than the build host's libseccomp; the same numbers on every architecture. */
static const char *newer_name(int nr)
{
	static const char *const names[] = {
		"set_mempolicy_home_node", "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait",
		"futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr",
		"lsm_list_modules", "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat",
		"open_tree_attr", "file_getattr", "file_setattr",
	};
	return nr >= 450 && nr < 450 + (int)(sizeof names / sizeof names[0]) ? names[nr - 450] : NULL;
}

static void emit_names(FILE *h, const char *array, uint32_t of)
{
	fprintf(h, "static const char *const %s[%d] = {\n", array, NAMES_MAX);
	for (int nr = 0; nr < NAMES_MAX; nr++) {
		char *known = seccomp_syscall_resolve_num_arch(of, nr);
		const char *name = known ? known : newer_name(nr);
		if (name)
			fprintf(h, "\t[%d] = \"%s\",\n", nr, name);
		free(known);
	}
	fprintf(h, "};\n");
}

static int names(const char *file)
{
	FILE *h = fopen(file, "w");
	if (!h)
		die(file, 0, strerror(errno));
	fprintf(h, "/* Made by sandbox/wall/bpf_gen.c. */\n#pragma once\n");
	emit_names(h, "names_x86_64", SCMP_ARCH_X86_64);
	emit_names(h, "names_i386", SCMP_ARCH_X86);
	emit_names(h, "names_arm64", SCMP_ARCH_AARCH64);
	return fclose(h) != 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--names"))
		return names(argv[2]);
	arch = SCMP_ARCH_X86_64;
	if (argc > 1 && !strcmp(argv[1], "--arm64")) {
		arch = SCMP_ARCH_AARCH64;
		argc--;
		argv++;
	}
	if (seccomp_arch_native() != SCMP_ARCH_X86_64) {
		fprintf(stderr, "bpf_gen: the lists are written with the numbers of x86-64: build there\n");
		return 1;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: bpf_gen [--arm64] HEADER LISTING NAME=FILE...\n");
		return 2;
	}
	/* Actions are those of the machines the filters will run on, not of the build host's kernel. */
	seccomp_api_set(6);
	FILE *h = fopen(argv[1], "w"), *text = fopen(argv[2], "w");
	if (!h || !text)
		die(argv[1], 0, strerror(errno));
	fprintf(h, "/* Made by sandbox/wall/bpf_gen.c from call lists. */\n#pragma once\n"
	           "#include <linux/filter.h>\n");
	for (int i = 3; i < argc; i++) {
		static struct list l;
		char *eq = strchr(argv[i], '=');
		if (!eq)
			die(argv[i], 0, "NAME=FILE was expected");
		*eq = 0;
		memset(&l, 0, sizeof l);
		l.name = argv[i];
		l.file = eq + 1;
		read_list(&l, l.file, false);
		if (!l.has_default)
			die(l.file, 0, "no default");
		emit(&l, h, text);
		seccomp_release(l.ctx);
	}
	return fclose(h) || fclose(text);
}
