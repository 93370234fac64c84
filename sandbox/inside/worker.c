/* SPDX-License-Identifier: Apache-2.0
 *
 * fumehood-worker: parses and runs one model. Everything after start_locked is assumed to be the
 * attacker's: it holds the model's pages, one arena, one channel and four system calls.
 *
 * Side: inside. Trusts: nothing. Owns: nothing that outlives it.
 *
 * Started by the jailer with: 3 = channel to the broker, 4 = the sealed model.
 */
#include "sandbox/inside/serve.h"
#include "sandbox/inside/start.h"
#include "sandbox/inside/sys.h"

int main(int argc, char **argv)
{
	struct start st;
	(void)argc;
	start_or_die(&st, argv); /* descriptors, maps, threads, the wall, "locked" */

	struct serve s = {
		.model = st.model,
		.model_bytes = st.model_bytes,
		.arena = st.arena,
		.arena_bytes = st.arena_bytes,
		.pool = st.pool,
	};
	sys_exit_group(serve_run(&s)); /* not return: exit handlers of libc are behind us */
}
