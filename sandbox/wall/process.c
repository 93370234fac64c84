/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers that are one prctl each. Side: wall. Trusts: nothing. Owns: nothing.
 */
#include "sandbox/wall/kernel_abi.h"
#include "sandbox/wall/steps.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static int ask(long option, unsigned long value)
{
	return syscall(SYS_prctl, option, value, 0UL, 0UL, 0UL) < 0 ? -errno : 0;
}

int step_pdeathsig(void)
{
	return ask(PR_SET_PDEATHSIG, SIGKILL);
}

int step_no_new_privs(void)
{
	return ask(PR_SET_NO_NEW_PRIVS, 1);
}

int step_mdwe(void)
{
	return ask(KABI_PR_SET_MDWE, KABI_PR_MDWE_REFUSE_EXEC_GAIN);
}

int step_dumpable(int on)
{
	return ask(PR_SET_DUMPABLE, on ? 1 : 0);
}
