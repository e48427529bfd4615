/* The createContainer and startContainer hooks: they run where the container's process is. */
#include "init.h"

#define OUTPUT_KEPT 1024 /* bytes of a failed hook's output that are told */

struct hook {
  int input;  /* memfd with the state */
  int output; /* memfd for what it prints */
  int report; /* pipe: errno of an exec that failed */
  const char *path;
  const char **arguments;
  const char **environment;
};

/* The state's JSON with the pid as it is here. */
static int state_file(struct init *c) {
  char pid[24];
  unsigned size = decimal(pid, (uint64_t)SYS(getpid, 0));
  int fd = (int)must(c, SYS(memfd_create, "state", MFD_CLOEXEC), PLAN_AT_OPEN, NULL);
  must(c, SYS(write, fd, text(c, 4), text_size(c, 4)), PLAN_AT_WRITE, NULL);
  must(c, SYS(write, fd, pid, size), PLAN_AT_WRITE, NULL);
  must(c, SYS(write, fd, text(c, 5), text_size(c, 5)), PLAN_AT_WRITE, NULL);
  must(c, SYS(lseek, fd, 0, 0), PLAN_AT_WRITE, NULL);
  return fd;
}

/* In the child, which is its own process group: a timeout ends all of it. */
static _Noreturn void become_hook(const struct hook *hook, unsigned umask) {
  SYS(setpgid, 0, 0);
  SYS(umask, umask);
  SYS(dup3, hook->input, 0, 0);
  SYS(dup3, hook->output, 1, 0);
  SYS(dup3, hook->output, 2, 0);
  int error = (int)-SYS(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
  if (error == 0)
    error = (int)-SYS(execve, hook->path, hook->arguments, hook->environment);
  SYS(write, hook->report, &error, sizeof error);
  sys_exit(127);
}

/* False: the time is over. */
static bool ends_in_time(int pidfd, uint64_t seconds) {
  struct sys_pollfd polled = {pidfd, POLLIN, 0};
  int64_t limit[2] = {(int64_t)seconds, 0}; /* struct timespec; ppoll counts it down */
  long result;
  do {
    result = SYS(ppoll, &polled, 1, seconds ? limit : NULL, 0, 8);
  } while (result == -EINTR);
  return result != 0;
}

static int reap(int pid) {
  int status = 0;
  while (SYS(wait4, pid, &status, 0, 0) == -EINTR)
    continue;
  return status;
}

static _Noreturn void fail_with_output(struct init *c, int output, int detail, int64_t value) {
  char tail[OUTPUT_KEPT + 1];
  int64_t size = SYS(lseek, output, 0, 2 /* SEEK_END */);
  int64_t from = size > OUTPUT_KEPT ? size - OUTPUT_KEPT : 0;
  long read = SYS(pread64, output, tail, OUTPUT_KEPT, from);
  if (read < 0)
    read = 0;
  tail[read] = 0;
  fail(c, detail, detail == PLAN_AT_HOOK_TIMEOUT ? ETIMEDOUT : 0, value, tail);
}

void step_hook(struct init *c) {
  int report[2];
  int pidfd = -1;
  int error = 0;
  must(c, SYS(pipe2, report, O_CLOEXEC), PLAN_AT_FORK, NULL);
  struct hook hook = {
      .input = state_file(c),
      .output = (int)must(c, SYS(memfd_create, "output", MFD_CLOEXEC), PLAN_AT_OPEN, NULL),
      .report = report[1],
      .path = text(c, 0),
      .arguments = make_vector(c, 1, text(c, 0)),
      .environment = make_vector(c, 2, NULL),
  };
  /* VFORK: when it returns, the hook has its process group, and the exec has worked or not. */
  int pid = sys_fork(CLONE_VFORK | CLONE_PIDFD, &pidfd);
  if (pid == 0)
    become_hook(&hook, c->umask);
  must(c, pid, PLAN_AT_FORK, hook.path);
  sys_close(report[1]);
  if (SYS(read, report[0], &error, sizeof error) == sizeof error) {
    reap(pid);
    fail(c, PLAN_AT_HOOK_EXEC, error, 0, hook.path);
  }
  bool in_time = ends_in_time(pidfd, number(c, 3));
  if (!in_time)
    SYS(kill, -pid, SIGKILL_NUMBER);
  int status = reap(pid);
  if (!in_time)
    fail_with_output(c, hook.output, PLAN_AT_HOOK_TIMEOUT, (int64_t)number(c, 3));
  if (status != 0)
    fail_with_output(c, hook.output, PLAN_AT_HOOK_EXIT, status);
  sys_close(pidfd);
  sys_close(report[0]);
  sys_close(hook.input);
  sys_close(hook.output);
}
