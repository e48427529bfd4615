/* The last steps: the program is found, the filter set, execve. */
#include "init.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

/* 0 when the file can be executed. */
static int executable_error(const char *path) {
  struct stat status;
  int error = (int)SYS(newfstatat, AT_FDCWD, path, &status, 0);
  if (error < 0)
    return error;
  if ((status.st_mode & S_IFMT) == S_IFDIR)
    return -EISDIR;
  return (int)SYS(faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
}

/* directory/name into c->executable; an empty directory is the current one. */
static bool join_path(struct init *c, const char *directory, size_t size, const char *name) {
  size_t name_size = strlen(name);
  if (size + name_size + 3 > PATH_SIZE)
    return false;
  char *out = c->executable;
  if (size == 0)
    *out++ = '.';
  memcpy(out, directory, size);
  out += size;
  *out++ = '/';
  memcpy(out, name, name_size + 1);
  return true;
}

static bool has_slash(const char *name) {
  while (*name && *name != '/')
    name++;
  return *name != 0;
}

void step_lookup(struct init *c) {
  const char *name = text(c, 0);
  size_t size = text_size(c, 0);
  if (size == 0)
    fail(c, PLAN_AT_LOOKUP, ENOENT, 0, name);
  if (has_slash(name)) {
    int error = size >= PATH_SIZE ? -ENAMETOOLONG : executable_error(name);
    if (error < 0)
      fail(c, PLAN_AT_LOOKUP, error, 1, name);
    memcpy(c->executable, name, size + 1);
    return;
  }
  const char *path = text(c, 1);
  int found = -ENOENT;
  while (path) {
    size_t length = 0;
    while (path[length] && path[length] != ':')
      length++;
    if (join_path(c, path, length, name)) {
      int error = executable_error(c->executable);
      if (error == 0)
        return;
      if (error == -EACCES)
        found = error;
    }
    path = path[length] ? path + length + 1 : NULL;
  }
  fail(c, PLAN_AT_LOOKUP, found, 0, name);
}

/* What exec needs, but a seccomp filter may forbid. */
static void prepare_exec(struct init *c) {
  if (c->prepared)
    return;
  c->prepared = true;
  SYS(umask, c->umask);
  for (int64_t fd = 3; fd < 3 + (int64_t)c->plan.header->preserve; fd++)
    SYS(fcntl, fd, F_SETFD, 0);
  struct plan_message message = {.kind = PLAN_MSG_EXEC, .step = c->step};
  send_message(c, &message, NULL, -1); /* a `start` that has gone away has started it all the same */
}

void step_seccomp(struct init *c) {
  size_t count = text_size(c, 0) / sizeof(struct sock_filter);
  struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)(uintptr_t)text(c, 0)};
  if (count > BPF_MAXINSNS)
    fail(c, PLAN_AT_NONE, E2BIG, 0, NULL);
  prepare_exec(c);
  c->trace = false; /* the filter may forbid what it takes */
  long result = SYS(seccomp, SECCOMP_SET_MODE_FILTER, number(c, 1), &program);
  must(c, result, PLAN_AT_NONE, NULL);
  if (!(number(c, 1) & SECCOMP_FILTER_FLAG_NEW_LISTENER))
    return;
  struct plan_message message = {.kind = PLAN_MSG_LISTENER, .step = c->step};
  must(c, send_message(c, &message, NULL, (int)result), PLAN_AT_SENDMSG, NULL);
  sys_close((int)result);
}

void step_exec(struct init *c) {
  if ((uint32_t)number(c, 0) == 0)
    fail(c, PLAN_AT_LOOKUP, EINVAL, 0, NULL);
  const char **arguments = make_vector(c, 0, NULL);
  const char **environment = make_vector(c, 1, NULL);
  if (c->home[0])
    environment[(uint32_t)number(c, 1)] = c->home;
  prepare_exec(c);
  const char *path = c->executable[0] ? c->executable : arguments[0];
  fail(c, PLAN_AT_EXECVE, SYS(execve, path, arguments, environment), 0, path);
}
