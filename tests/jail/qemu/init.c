/* SPDX-License-Identifier: Apache-2.0
 *
 * The first process of the test machine of `make qemu-61`: loads the modules that its initramfs lists, moves on
 * to the disk (an initramfs cannot be left by pivot_root, which the jailer needs), runs /run.sh there and
 * switches the machine off.
 *
 * Side: tests, inside the test machine. Trusts: everything there. Owns: the machine.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, int rc)
{
	printf("init: %s: %s\n", what, rc < 0 ? "failed" : "done");
	fflush(stdout);
}

static void load_modules(void)
{
	char line[256];
	FILE *f = fopen("/modules", "r");
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		int fd = open(line, O_RDONLY | O_CLOEXEC);
		say(line, fd < 0 ? -1 : (int)syscall(SYS_finit_module, fd, "", 0));
		if (fd >= 0)
			close(fd);
	}
	if (f)
		fclose(f);
}

static int to_the_disk(void)
{
	for (int i = 0; i < 100; i++) { /* the disk appears a moment after its module */
		if (mount("/dev/vda", "/root", "ext4", 0, NULL) == 0)
			break;
		usleep(100000);
	}
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -1;
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/sys", "sysfs", 0, NULL);
	mount("none", "/dev", "devtmpfs", 0, NULL);
	return mount("none", "/tmp", "tmpfs", 0, "mode=1777");
}

int main(void)
{
	mkdir("/dev", 0755);
	mkdir("/root", 0755);
	mount("none", "/dev", "devtmpfs", 0, NULL);
	int console = open("/dev/console", O_RDWR);
	for (int i = 0; console >= 0 && i < 3; i++)
		dup2(console, i);
	load_modules();
	say("the disk", to_the_disk());
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = { (char[]){ "sh" }, (char[]){ "/run.sh" }, NULL };
		char *envp[] = { (char[]){ "PATH=/bin" }, (char[]){ "HOME=/tmp" }, NULL };
		execve("/bin/sh", argv, envp);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	say("run.sh", 0);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
