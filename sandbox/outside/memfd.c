/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed memory files for models and programs. Side: broker. Trusts: the kernel. Owns: nothing.
 */
#include "sandbox/sandbox.h"
#include "sandbox/wall/kernel_abi.h"

#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define FCHUNK ((size_t)1 << 20)

/* Kernels before 6.3 do not know the flag: the file is the same but for the missing seal, which the
 * jailer notices and the configuration must allow. */
static int create(const char *name, unsigned flag, int *fd, struct err *e)
{
	unsigned base = KABI_MFD_CLOEXEC | KABI_MFD_ALLOW_SEALING;
	long f = syscall(SYS_memfd_create, name, base | flag);
	if (f < 0 && errno == EINVAL)
		f = syscall(SYS_memfd_create, name, base);
	if (f < 0)
		return err_set(e, ERR_NOMEM, "memfd %s: %s", name, strerror(errno));
	*fd = (int)f;
	return ERR_OK;
}

int memfd_model_new(int *fd, struct err *e)
{
	return create("fumehood-model", KABI_MFD_NOEXEC_SEAL, fd, e);
}

int memfd_seal(int fd, struct err *e)
{
	if (syscall(SYS_fcntl, fd, KABI_F_ADD_SEALS, KABI_SEALS_DATA) < 0)
		return err_set(e, ERR_IO, "sealing a memfd: %s", strerror(errno));
	return ERR_OK;
}

int memfd_program(int file_fd, int *out, uint64_t *bytes, struct err *e)
{
	int fd = -1, rc = create("fumehood-program", KABI_MFD_EXEC, &fd, e);
	off_t at = 0;
	ssize_t n = 1;
	while (rc == ERR_OK && (n = sendfile(fd, file_fd, &at, FCHUNK)) > 0)
		;
	if (rc == ERR_OK && (n < 0 || at == 0))
		rc = err_set(e, ERR_IO, "copying a program to memory: %s", n < 0 ? strerror(errno) : "empty file");
	if (rc == ERR_OK)
		rc = memfd_seal(fd, e);
	if (rc != ERR_OK) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*out = fd;
	*bytes = (uint64_t)at;
	return ERR_OK;
}
