/* Steps of the process itself: session, keyring, standard streams, umask, working directory. */
#include <linux/keyctl.h>

#include "init.h"

void step_keyring(struct init *c) {
  long result = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  if (result != -ENOSYS)
    must(c, result, PLAN_AT_NONE, NULL);
}

void step_personality(struct init *c) { must(c, SYS(personality, number(c, 0)), PLAN_AT_NONE, NULL); }

/* So that a process that is not root can open /dev/stdout again. Not all can be given away, and a file that
 * is only read stays its owner's. */
void step_stdio_owner(struct init *c) {
  struct stat status;
  for (int fd = 0; fd < 3; fd++) {
    if (SYS(fstat, fd, &status) < 0 || status.st_uid == (uint32_t)number(c, 0))
      continue;
    uint32_t type = status.st_mode & S_IFMT;
    bool written = SYS(fcntl, fd, F_GETFL) & O_ACCMODE;
    if (type == S_IFIFO || type == S_IFSOCK || (type == S_IFREG && written))
      SYS(fchown, fd, number(c, 0), -1);
  }
}

void step_setsid(struct init *c) {
  long result = SYS(setsid, 0);
  if (result != -EPERM)
    must(c, result, PLAN_AT_NONE, NULL); /* EPERM: it leads one already */
}

/* The umask itself stays 0 until exec: no file is made by accident of the user's. */
void step_umask(struct init *c) { c->umask = (unsigned)number(c, 0); }

/* A descriptor that leads out of the root (CVE-2024-21626) makes getcwd say "(unreachable)". */
static void check_inside(struct init *c) {
  char path[PATH_SIZE];
  long size = SYS(getcwd, path, sizeof path);
  if (size == -ERANGE || size == -ENAMETOOLONG)
    return; /* deep, not outside: the kernel checks that first */
  must(c, size, PLAN_AT_OUTSIDE, text(c, 0));
  if (path[0] != '/')
    fail(c, PLAN_AT_OUTSIDE, ENOENT, 0, text(c, 0));
}

void step_chdir(struct init *c) {
  bool create = number(c, 1) & 1;
  if (c->pivoted && text(c, 0)[0] == '/' && text_size(c, 0) == 1)
    return; /* PIVOT went there */
  int fd = create ? open_or_make(c, text(c, 0), O_PATH | O_DIRECTORY, false)
                  : open_in_root(c, text(c, 0), O_PATH | O_DIRECTORY);
  must(c, fd, PLAN_AT_CHDIR, text(c, 0));
  must(c, SYS(fchdir, fd), PLAN_AT_CHDIR, text(c, 0));
  sys_close(fd);
  check_inside(c);
}
