/* The container's pseudo-terminal. */
#include "init.h"

/* The multiplexer of the container's devpts. No other file is opened: a device of the image may do harm. */
static int open_ptmx(struct init *c) {
  const char *path = "/dev/pts/ptmx";
  if (c->devpts < 0)
    c->devpts = (int)must(c, open_in_root(c, "dev/pts", O_PATH | O_DIRECTORY), PLAN_AT_PTMX, path);
  struct open_how how = {
      .flags = O_RDWR | O_NOCTTY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
  };
  struct statfs fs;
  must(c, SYS(fstatfs, c->devpts, &fs), PLAN_AT_PTMX, path);
  if (fs.f_type != DEVPTS_SUPER_MAGIC)
    fail(c, PLAN_AT_PTMX, EINVAL, 0, path);
  return (int)must(c, SYS(openat2, c->devpts, "ptmx", &how, sizeof how), PLAN_AT_PTMX, path);
}

/* /dev/console is the same terminal. */
static void bind_console(struct init *c, int terminal) {
  int tree = clone_tree(c, terminal, "/dev/console", 0);
  int onto = destination(c, "dev/console", true);
  attach(c, tree, onto, "/dev/console");
  retire(c, onto);
  retire(c, tree);
}

void step_console(struct init *c) {
  int unlocked = 0;
  uint16_t size[4] = {(uint16_t)number(c, 2), (uint16_t)number(c, 1), 0, 0}; /* struct winsize */
  int master = open_ptmx(c);
  must(c, SYS(ioctl, master, TIOCSPTLCK, &unlocked), PLAN_AT_PTMX, NULL);
  long terminal = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(c, terminal, PLAN_AT_PTMX, NULL);
  if (size[0] || size[1])
    must(c, SYS(ioctl, master, TIOCSWINSZ, size), PLAN_AT_PTMX, NULL);
  long error = SYS(fchown, terminal, number(c, 3), -1);
  if (error != -EPERM && error != -EINVAL && error != -EROFS)
    must(c, error, PLAN_AT_CHOWN, NULL);
  if (number(c, 4) & 1)
    bind_console(c, (int)terminal);
  must(c, send_descriptor(descriptor(c, 0), "/dev/ptmx", 9, NULL, master), PLAN_AT_SENDMSG, NULL);
  sys_close(master);
  sys_close(descriptor(c, 0));
  for (int fd = 0; fd < 3; fd++)
    must(c, SYS(dup3, terminal, fd, 0), PLAN_AT_PTMX, NULL);
  sys_close((int)terminal);
  must(c, SYS(ioctl, 0, TIOCSCTTY, 0), PLAN_AT_PTMX, NULL);
}
