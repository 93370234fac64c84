/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-worker: parses and runs one model. Everything after the start is assumed to be the
 * attacker's: it holds the model's pages, one arena, one channel and four system calls.
 *
 * Side: inside. Trusts: nothing. Owns: nothing that outlives it.
 *
 * Started by the jailer with: 3 = channel to the broker, 4 = the sealed model.
 */
#include "sandbox/inside/engine/kernels/blas.h"
#include "sandbox/inside/engine/kernels/kernels.h"
#include "sandbox/inside/serve.h"
#include "sandbox/inside/start.h"
#include "sandbox/inside/sys.h"

#include <errno.h>
#include <string.h>

/* Before the wall: OpenBLAS must have chosen the core that this level names, or a product would have
 * other bits (and a quarter of the speed) than the record says. */
static int prepare(struct start *st)
{
	enum level best = level_detect();
	if (!blas_core_check())
		return -ENOTSUP;
	st->level = (uint32_t)best;
	strncpy(st->blas_core, blas_core_wanted(best), sizeof st->blas_core - 1);
	return 0;
}

int main(int argc, char **argv)
{
	struct start st;
	(void)argc;
	start_prepared_or_die(&st, argv, prepare); /* descriptors, maps, threads, the wall, "locked" */

	struct serve s = {
		.model = st.model,
		.model_bytes = st.model_bytes,
		.arena = st.arena,
		.arena_bytes = st.arena_bytes,
		.pool = st.pool,
	};
	sys_exit_group(serve_run(&s)); /* not return: exit handlers of libc are behind us */
}
