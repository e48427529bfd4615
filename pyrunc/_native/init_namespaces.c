/* Steps of cgroups and namespaces: what the process sees of the host. */
#include "init.h"

void step_cgroup_join(struct init *c) {
  int fd = descriptor(c, 0);
  if (fd < 0)
    fd = (int)must(c, SYS(openat, AT_FDCWD, text(c, 1), O_WRONLY | O_CLOEXEC), PLAN_AT_OPEN, text(c, 1));
  write_all(c, fd, "0", 1, text(c, 1));
  retire(c, fd);
}

void step_setns(struct init *c) {
  must(c, SYS(setns, descriptor(c, 0), number(c, 1)), PLAN_AT_SETNS, NULL);
  retire(c, descriptor(c, 0));
}

/* The one that goes on waits until the other has told its pid, so that this message is the first. A byte says
 * that it was sent: nobody would follow a process whose pid is not known. */
void step_fork(struct init *c) {
  int ends[2];
  must(c, SYS(pipe2, ends, O_CLOEXEC), PLAN_AT_FORK, NULL);
  int pid = (int)must(c, sys_fork(CLONE_PARENT, NULL), PLAN_AT_FORK, NULL);
  if (pid > 0) {
    struct plan_message message = {PLAN_MSG_PID, c->step, 0, 0, pid};
    sys_exit(send_message(c, &message, NULL, -1) < 0 || SYS(write, ends[1], "", 1) != 1);
  }
  char told;
  long size;
  sys_close(ends[1]);
  do {
    size = SYS(read, ends[0], &told, 1);
  } while (size == -EINTR);
  if (size != 1)
    sys_exit(1);
  sys_close(ends[0]);
}

void step_unshare(struct init *c) { must(c, SYS(unshare, number(c, 0)), PLAN_AT_NONE, NULL); }

/* A descriptor of a file or directory of this process in a procfs; the namespaces' links are none. */
static int open_own(struct init *c, int proc, const char *name, uint64_t flags) {
  struct open_how how = {
      .flags = flags | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
  };
  struct statfs fs;
  int fd = (int)must(c, SYS(openat2, proc, name, &how, sizeof how), PLAN_AT_OPEN, name);
  must(c, SYS(fstatfs, fd, &fs), PLAN_AT_NOT_PROC, name);
  if (fs.f_type != PROC_SUPER_MAGIC)
    fail(c, PLAN_AT_NOT_PROC, EINVAL, 0, name);
  return fd;
}

/* The mount namespace may be a joined one, where /proc is what its owner likes. */
void step_time_namespace(struct init *c) {
  must(c, SYS(unshare, CLONE_NEWTIME), PLAN_AT_NONE, NULL);
  int proc = private_procfs();
  if (proc < 0)
    proc = (int)must(c, SYS(openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), PLAN_AT_OPEN, "/proc");
  int offsets = open_own(c, proc, "self/timens_offsets", O_WRONLY);
  if (text_size(c, 0))
    write_all(c, offsets, text(c, 0), text_size(c, 0), text(c, 0));
  sys_close(offsets);
  int links = open_own(c, proc, "self/ns", O_PATH | O_DIRECTORY);
  const char *name = "time_for_children";
  int namespace = (int)must(c, SYS(openat, links, name, O_RDONLY | O_CLOEXEC), PLAN_AT_OPEN, name);
  must(c, SYS(setns, namespace, CLONE_NEWTIME), PLAN_AT_SETNS, NULL);
  sys_close(namespace);
  sys_close(links);
  sys_close(proc);
}

struct interface_request {
  char name[16];
  short flags;
  char rest[22];
};

void step_loopback(struct init *c) {
  struct interface_request request = {.name = "lo"};
  int socket = (int)must(c, SYS(socket, SYS_AF_INET, SYS_SOCK_DGRAM | O_CLOEXEC, 0), PLAN_AT_OPEN, NULL);
  must(c, SYS(ioctl, socket, 0x8913 /* SIOCGIFFLAGS */, &request), PLAN_AT_NONE, NULL);
  request.flags |= 1; /* IFF_UP */
  must(c, SYS(ioctl, socket, 0x8914 /* SIOCSIFFLAGS */, &request), PLAN_AT_NONE, NULL);
  retire(c, socket);
}

void step_hostname(struct init *c) { must(c, SYS(sethostname, text(c, 0), text_size(c, 0)), PLAN_AT_NONE, text(c, 0)); }

void step_domainname(struct init *c) {
  must(c, SYS(setdomainname, text(c, 0), text_size(c, 0)), PLAN_AT_NONE, text(c, 0));
}
