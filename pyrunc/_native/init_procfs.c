/* A procfs that is one, and the steps that write labels and kernel parameters through it. */
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

/* Write to a file below prefix in a procfs. No link and no mount on the way can lead elsewhere. */
static void write_proc(struct init *c, const char *prefix) {
  char path[1024];
  size_t prefix_size = strlen(prefix);
  struct open_how how = {
      .flags = O_WRONLY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
  };
  if (prefix_size + text_size(c, 0) >= sizeof path)
    fail(c, PLAN_AT_OPEN, ENAMETOOLONG, 0, text(c, 0));
  memcpy(path, prefix, prefix_size);
  memcpy(path + prefix_size, text(c, 0), text_size(c, 0) + 1);
  int fd = (int)must(c, SYS(openat2, open_procfs(c), path, &how, sizeof how), PLAN_AT_OPEN, path);
  struct statfs fs;
  must(c, SYS(fstatfs, fd, &fs), PLAN_AT_NOT_PROC, path);
  if (fs.f_type != PROC_SUPER_MAGIC)
    fail(c, PLAN_AT_NOT_PROC, EINVAL, 0, path);
  write_all(c, fd, text(c, 1), text_size(c, 1), path);
  sys_close(fd);
}

void step_sysctl(struct init *c) { write_proc(c, "sys/"); }

/* `self` is a link; the own pid's directory is not. */
void step_proc_write(struct init *c) {
  char prefix[24];
  unsigned size = decimal(prefix, (uint64_t)SYS(getpid, 0));
  prefix[size] = '/';
  prefix[size + 1] = 0;
  write_proc(c, prefix);
}
