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
static int containers_procfs(struct init *c) {
  char self[24];
  char own[24];
  struct statfs fs;
  struct stat status;
  int fd = open_in_root(c, "/proc", O_PATH | O_DIRECTORY);
  if (fd < 0)
    return fd;
  unsigned own_size = decimal(own, (uint64_t)SYS(getpid, 0));
  bool proc = SYS(fstatfs, fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
  bool top = SYS(fstat, fd, &status) == 0 && status.st_ino == 1;
  bool ours = SYS(readlinkat, fd, "self", self, sizeof self) == own_size && memcmp(self, own, own_size) == 0;
  if (proc && top && ours)
    return fd;
  sys_close(fd);
  return -EINVAL;
}

int find_procfs(struct init *c) {
  if (c->proc < 0)
    c->proc = private_procfs();
  if (c->proc < 0)
    c->proc = containers_procfs(c);
  return c->proc;
}

int open_procfs(struct init *c) {
  int fd = find_procfs(c);
  return (int)must(c, fd, fd == -EINVAL ? PLAN_AT_NOT_PROC : PLAN_AT_OPEN, "/proc");
}
