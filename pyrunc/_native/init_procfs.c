/* A procfs that is one: what labels and kernel parameters are written through. */
#include "init.h"

/* A procfs that nobody has put anything into: the container's own before it runs, or a private one. */
int private_procfs(void) {
  long context = SYS(fsopen, "proc", FSOPEN_CLOEXEC);
  if (context < 0)
    return (int)context;
  long error = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  long fd = error < 0 ? error : SYS(fsmount, context, FSMOUNT_CLOEXEC, 0);
  sys_close((int)context);
  return (int)fd;
}

/* In a user namespace a new procfs may be refused: then /proc, if it is the root of a procfs and of ours. */
static int checked_procfs(struct init *c) {
  char self[24];
  char own[24];
  struct statfs fs;
  struct stat status;
  int fd = open_in_root(c, "/proc", O_PATH | O_DIRECTORY);
  must(c, fd, PLAN_AT_OPEN, "/proc");
  must(c, SYS(fstatfs, fd, &fs), PLAN_AT_NOT_PROC, "/proc");
  must(c, SYS(fstat, fd, &status), PLAN_AT_NOT_PROC, "/proc");
  long size = must(c, SYS(readlinkat, fd, "self", self, sizeof self), PLAN_AT_NOT_PROC, "/proc/self");
  unsigned own_size = decimal(own, (uint64_t)SYS(getpid, 0));
  bool ours = size == own_size && memcmp(self, own, own_size) == 0;
  if (fs.f_type != PROC_SUPER_MAGIC || status.st_ino != 1 || !ours) {
    fail(c, PLAN_AT_NOT_PROC, EINVAL, 0, "/proc");
  }
  return fd;
}

int open_procfs(struct init *c) {
  if (c->proc < 0)
    c->proc = private_procfs();
  if (c->proc < 0)
    c->proc = checked_procfs(c);
  return c->proc;
}
