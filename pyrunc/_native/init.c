/* pyrunc-init: the process that becomes the container's. It carries out a plan (plan.h), step by step,
 * and says over a socket how far it is. Started as: pyrunc-init <number of the plan's descriptor>. */
#include "init.h"

#define TEXT_MAX 4000 /* bytes of text in a message: the runtime reads 4096 with the head */

/* The compiler calls these itself. The empty asm keeps it from making them call themselves. */
void *memcpy(void *to, const void *from, size_t size) {
  char *out = to;
  const char *in = from;
  for (size_t i = 0; i < size; i++) {
    out[i] = in[i];
    __asm__ volatile("" ::: "memory");
  }
  return to;
}

void *memset(void *to, int byte, size_t size) {
  char *out = to;
  for (size_t i = 0; i < size; i++) {
    out[i] = (char)byte;
    __asm__ volatile("" ::: "memory");
  }
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const unsigned char *a = left;
  const unsigned char *b = right;
  for (size_t i = 0; i < size; i++) {
    if (a[i] != b[i])
      return a[i] - b[i];
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t size = 0;
  while (text[size]) {
    size++;
    __asm__ volatile("" ::: "memory");
  }
  return size;
}

/* Writes digits and a NUL; returns how many digits. out: 21 bytes. */
unsigned decimal(char *out, uint64_t value) {
  char digits[20];
  unsigned count = 0;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  for (unsigned i = 0; i < count; i++)
    out[i] = digits[count - 1 - i];
  out[count] = 0;
  return count;
}

/* One message: `body`, then the text `more` (or NULL), with a descriptor unless fd is -1. */
int send_descriptor(int socket, const void *body, size_t size, const char *more, int fd) {
  size_t more_size = more ? strlen(more) : 0;
  if (more_size > TEXT_MAX)
    more_size = TEXT_MAX; /* the receiver takes no more, and a message of megabytes is refused */
  struct sys_iovec parts[2] = {{body, size}, {more, more_size}};
  struct sys_rights rights = {sizeof(size_t) + 3 * sizeof(int), SYS_SOL_SOCKET, SYS_SCM_RIGHTS, fd, 0};
  struct sys_msghdr message = {.iov = parts, .iovlen = more ? 2 : 1};
  if (fd >= 0) {
    message.control = &rights;
    message.controllen = sizeof rights;
  }
  long result;
  do {
    result = SYS(sendmsg, socket, &message, SYS_MSG_NOSIGNAL);
  } while (result == -EINTR);
  return result < 0 ? (int)result : 0;
}

int send_message(struct init *c, const struct plan_message *message, const char *body, int fd) {
  return send_descriptor(c->peer, message, sizeof *message, body, fd);
}

/* 0, or a negative errno; -EPIPE at end of file and for a message that is too short. */
int receive_message(int fd, struct plan_message *message) {
  long size;
  do {
    size = SYS(recvfrom, fd, message, sizeof *message);
  } while (size == -EINTR);
  if (size < 0)
    return (int)size;
  return size == sizeof *message ? 0 : -EPIPE;
}

/* Tell the peer, then stay until it has gone: it may want to look at this process' root. */
_Noreturn void fail(struct init *c, int detail, long error, int64_t value, const char *body) {
  struct plan_message message = {PLAN_MSG_FAILED, c->step, (int)(error < 0 ? -error : error), (uint32_t)detail, value};
  if (c->peer >= 0 && send_message(c, &message, body, -1) == 0) {
    while (receive_message(c->peer, &message) == 0)
      continue;
  }
  sys_exit(1);
}

void warn(struct init *c, int detail, long error, int64_t value, const char *body) {
  struct plan_message message = {PLAN_MSG_WARNING, c->step, (int)(error < 0 ? -error : error), (uint32_t)detail, value};
  if (c->early)
    send_message(c, &message, body, -1);
}

/* Descriptors are opened in rows, so that one call can close many. And when nobody waits for `start`, execve
 * closes them all. Where the limit is low, each is closed at once. */
enum { RETIRED_MAX = 64, LOW_LIMIT = 256, MANY = 192 };

void close_retired(struct init *c) {
  while (c->retired) {
    int from = __builtin_ctzll(c->retired);
    uint64_t rest = ~(c->retired >> from);
    int length = rest ? __builtin_ctzll(rest) : RETIRED_MAX;
    int first = c->retired_from + from;
    SYS(close_range, first, first + length - 1, 0);
    c->retired = from + length < RETIRED_MAX ? c->retired >> (from + length) << (from + length) : 0;
  }
}

static bool limit_is_low(struct init *c) {
  uint64_t limit[2];
  if (c->nofile == 0)
    c->nofile = SYS(prlimit64, 0, 7 /* RLIMIT_NOFILE */, 0, limit) < 0 ? 1 : limit[0] + 1;
  return c->nofile <= LOW_LIMIT;
}

void retire(struct init *c, int fd) {
  if (fd < 0)
    return;
  if (limit_is_low(c)) {
    sys_close(fd);
    return;
  }
  if (c->plan.header->listener < 0 && fd < MANY)
    return;
  if (c->retired && (fd < c->retired_from || fd >= c->retired_from + RETIRED_MAX))
    close_retired(c);
  if (!c->retired)
    c->retired_from = fd & ~3; /* what is opened before it may be closed after it */
  c->retired |= 1ull << (fd - c->retired_from);
}

long must(struct init *c, long result, int detail, const char *body) {
  if (result < 0)
    fail(c, detail, result, 0, body);
  return result;
}

/* In one call: files of the kernel take nothing in parts. subject: for errors */
void write_all(struct init *c, int fd, const char *bytes, size_t size, const char *subject) {
  long written;
  do {
    written = SYS(write, fd, bytes, size);
  } while (written == -EINTR);
  if (written >= 0 && (size_t)written != size)
    written = -EIO;
  must(c, written, PLAN_AT_WRITE, subject);
}

/* NULL-terminated array of the texts of an argument. It lives until exec. */
const char **make_vector(struct init *c, int argument, const char *when_empty) {
  uint64_t count = (uint32_t)number(c, argument);
  const uint64_t *texts = (const uint64_t *)(const void *)text(c, argument);
  long map = SYS(mmap, 0, (count + 2) * sizeof(char *), 3 /* read, write */, 0x22 /* private, anonymous */, -1, 0);
  const char **vector = (const char **)must(c, map, PLAN_AT_NONE, NULL);
  for (uint64_t i = 0; i < count; i++)
    vector[i] = plan_text(&c->plan, texts[i]);
  if (count == 0)
    vector[0] = when_empty;
  return vector;
}

/* For the runtime's --trace: the one clock that no time namespace changes. */
static void tell_step(struct init *c) {
  int64_t now[2]; /* seconds, nanoseconds */
  SYS(clock_gettime, 0 /* CLOCK_REALTIME */, now);
  struct plan_message message = {PLAN_MSG_STEP, c->step, 0, 0, now[0] * 1000000000 + now[1]};
  send_message(c, &message, NULL, -1);
}

static void run_step(struct init *c) {
#define RUN(NAME, function) \
  case PLAN_OP_##NAME: \
    function(c); \
    return
  switch ((enum plan_op)c->at->op) {
    RUN(CGROUP_JOIN, step_cgroup_join);
    RUN(SETNS, step_setns);
    RUN(FORK, step_fork);
    RUN(UNSHARE, step_unshare);
    RUN(TIME_NAMESPACE, step_time_namespace);
    RUN(SYNC, step_sync);
    RUN(BECOME_ROOT, step_become_root);
    RUN(LOOPBACK, step_loopback);
    RUN(PROPAGATE, step_propagate);
    RUN(ROOTFS, step_rootfs);
    RUN(MOUNT, step_mount);
    RUN(REMOUNT, step_remount);
    RUN(BIND, step_bind);
    RUN(MKNOD, step_mknod);
    RUN(BIND_DEVICE, step_bind_device);
    RUN(SYMLINK, step_symlink);
    RUN(MASK, step_mask);
    RUN(READONLY, step_readonly);
    RUN(CGROUP_BIND, step_cgroup_bind);
    RUN(CGROUP_SEAL, step_cgroup_seal);
    RUN(ROOT_READONLY, step_root_readonly);
    RUN(ROOT_PROPAGATION, step_root_propagation);
    RUN(HOOK, step_hook);
    RUN(PIVOT, step_pivot);
    RUN(CHROOT, step_chroot);
    RUN(SYSCTL, step_sysctl);
    RUN(HOSTNAME, step_hostname);
    RUN(DOMAINNAME, step_domainname);
    RUN(KEYRING, step_keyring);
    RUN(CONSOLE, step_console);
    RUN(PROC_WRITE, step_proc_write);
    RUN(PERSONALITY, step_personality);
    RUN(SCHEDULER, step_scheduler);
    RUN(IO_PRIORITY, step_io_priority);
    RUN(AFFINITY, step_affinity);
    RUN(MEMORY_POLICY, step_memory_policy);
    RUN(STDIO_OWNER, step_stdio_owner);
    RUN(SETSID, step_setsid);
    RUN(RLIMIT, step_rlimit);
    RUN(BOUNDING, step_bounding);
    RUN(SETGROUPS, step_setgroups);
    RUN(SETIDS, step_setids);
    RUN(UMASK, step_umask);
    RUN(HOME, step_home);
    RUN(CHDIR, step_chdir);
    RUN(CAPABILITIES, step_capabilities);
    RUN(AMBIENT, step_ambient);
    RUN(NO_NEW_PRIVILEGES, step_no_new_privileges);
    RUN(LOOKUP, step_lookup);
    RUN(GATE, step_gate);
    RUN(SECCOMP, step_seccomp);
    RUN(EXEC, step_exec);
  case PLAN_OP_NONE:
  case PLAN_OP_END:
    break;
  }
#undef RUN
  fail(c, PLAN_AT_DECODE, EINVAL, 0, NULL);
}

/* CPython ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored over exec. */
static void reset_signals(uint64_t ignored) {
  const uint64_t nothing[4] = {0}; /* the kernel's struct sigaction: SIG_DFL, no flags, no mask */
  for (int signal = 1; signal <= SIGNAL_LAST; signal++)
    if (ignored >> (signal - 1) & 1)
      SYS(rt_sigaction, signal, nothing, 0, 8);
  SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, nothing, 0, 8);
}

/* Map the plan and check it. Nobody can be told of a broken header: the parent sees end of file. */
static void load_plan(struct init *c, const char *argument) {
  int fd = 0;
  while (*argument >= '0' && *argument <= '9' && fd < 1 << 24)
    fd = fd * 10 + (*argument++ - '0');
  struct stat status;
  if (SYS(fstat, fd, &status) < 0 || status.st_size <= 0 || status.st_size > UINT32_MAX)
    sys_exit(1);
  long map = SYS(mmap, 0, status.st_size, 1 /* read */, 2 /* private */, fd, 0);
  if (map < 0 && map > -4096)
    sys_exit(1);
  sys_close(fd);
  int broken = plan_decode(&c->plan, (const void *)map, (size_t)status.st_size);
  if (broken < 0)
    sys_exit(1);
  c->peer = c->plan.header->control;
  if (broken == 0)
    return;
  c->step = (uint32_t)broken - 1;
  fail(c, PLAN_AT_DECODE, EINVAL, 0, NULL);
}

/* An unprivileged parent that writes the id maps needs a dumpable child until it has done so. */
static bool maps_are_to_come(const struct plan *plan) {
  for (uint32_t i = 0; i < plan->header->nsteps; i++) {
    const struct plan_step *step = &plan->steps[i];
    if (step->op == PLAN_OP_SYNC && step->arg[0] == PLAN_STAGE_IDMAP)
      return true;
  }
  return false;
}

/* Called by _start with the stack as the kernel made it: argc, argv[]. */
__attribute__((used)) _Noreturn void init_main(const long *stack) {
  char executable[PATH_SIZE];
  char home[PATH_SIZE];
  struct init context = {.peer = -1,
                         .root = -1,
                         .proc = -1,
                         .devpts = -1,
                         .cgroups = -1,
                         .masks = -1,
                         .parent = -1,
                         .early = true,
                         .executable = executable,
                         .home = home};
  struct init *c = &context;
  executable[0] = home[0] = 0;
  if (stack[0] < 2)
    sys_exit(1);
  load_plan(c, (const char *)stack[2]);
  if (!maps_are_to_come(&c->plan))
    must(c, SYS(prctl, PR_SET_DUMPABLE, 0), PLAN_AT_NONE, NULL);
  must(c, SYS(prctl, PR_SET_NAME, "pyrunc-init"), PLAN_AT_NONE, NULL);
  must(c, SYS(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC), PLAN_AT_CLOSE_RANGE, NULL);
  reset_signals(c->plan.header->ignored);
  c->trace = c->plan.header->trace == 1;
  c->umask = (unsigned)SYS(umask, 0); /* so that modes are what the plan says */
  for (; c->step < c->plan.header->nsteps; c->step++) {
    c->at = &c->plan.steps[c->step];
    if (c->trace)
      tell_step(c);
    run_step(c);
  }
  fail(c, PLAN_AT_DECODE, EINVAL, 0, NULL); /* a plan ends with EXEC */
}

#if defined(__x86_64__)
__asm__(".text\n.global _start\n.type _start,@function\n_start:\n"
        "  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call init_main\n  hlt\n");
#else
__asm__(".text\n.global _start\n.type _start,%function\n_start:\n"
        "  mov x29, #0\n  mov x30, #0\n  mov x0, sp\n  bl init_main\n  brk #0\n");
#endif
