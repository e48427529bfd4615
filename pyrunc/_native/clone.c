/* What the parent does in C: system calls that Python's library does not have, and the start of
 * pyrunc-init. The declarations, and what they mean, are in clone.cdef.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define SPAWN_STACK 16384
/* Runs on a stack that ASan does not know, and never returns to take its marks away from it. */
#define ON_SPAWN_STACK __attribute__((no_sanitize_address))

static void close_scoped(const int *fd) {
  if (*fd >= 0)
    close(*fd);
}

/* The descriptor is the caller's now. */
static int steal(int *fd) {
  int stolen = *fd;
  *fd = -1;
  return stolen;
}

#define SCOPED_FD __attribute__((cleanup(close_scoped))) int

static int result_of(long result) { return result < 0 ? -errno : (int)result; }

/* --- pyrunc_spawn --- */

struct spawn {
  int init_fd;
  int plan_fd;
  const int *keep;
  int nkeep;
  int preserve;
  const int *stdio;
  int raise_ambient;
  int error; /* out: errno of the child's failure, in the memory that both share */
  int at;    /* out: the call that the child was at */
};

enum { AT_CLONE3, AT_CLOSE_RANGE, AT_CAPABILITIES, AT_EXECVEAT };

/* The new user namespace gives all capabilities, but exec by a user that is not its root takes them. */
ON_SPAWN_STACK static long raise_ambient(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0)
    return -1;
  for (int i = 0; i < 2; i++)
    data[i].inheritable = data[i].permitted;
  if (syscall(SYS_capset, &header, data) < 0)
    return -1;
  for (unsigned capability = 0; capability < 64; capability++) {
    if (!(data[capability / 32].permitted >> capability % 32 & 1))
      continue;
    if (syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
      return -1;
  }
  return 0;
}

ON_SPAWN_STACK static long inherit(int fd) { return syscall(SYS_fcntl, fd, F_SETFD, 0); }

/* Only what was asked for goes over the exec. */
ON_SPAWN_STACK static long choose_descriptors(const struct spawn *spawn) {
  for (int i = 0; i < 3; i++) {
    if (spawn->stdio[i] >= 0 && syscall(SYS_dup3, spawn->stdio[i], i, 0) < 0)
      return -1;
  }
  if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
    return -1;
  for (int i = 0; i < spawn->nkeep; i++) {
    if (inherit(spawn->keep[i]) < 0)
      return -1;
  }
  for (int i = 0; i < spawn->preserve; i++) {
    if (inherit(3 + i) < 0)
      return -1;
  }
  return inherit(spawn->plan_fd);
}

ON_SPAWN_STACK static void plan_argument(char *out, int fd) {
  char digits[12];
  int count = 0;
  do {
    digits[count++] = (char)('0' + fd % 10);
    fd /= 10;
  } while (fd);
  while (count)
    *out++ = digits[--count];
  *out = 0;
}

/* The child, in the parent's memory on a stack of its own: system calls only, no lock, no allocation. */
ON_SPAWN_STACK static void spawn_child(struct spawn *spawn) {
  char number[12];
  char name[] = "pyrunc-init";
  char *arguments[] = {name, number, NULL};
  char *environment[] = {NULL};
  plan_argument(number, spawn->plan_fd);
  spawn->at = AT_CLOSE_RANGE;
  if (choose_descriptors(spawn) == 0) {
    spawn->at = AT_CAPABILITIES;
    if (!spawn->raise_ambient || raise_ambient() == 0) {
      spawn->at = AT_EXECVEAT;
      syscall(SYS_execveat, spawn->init_fd, "", arguments, environment, AT_EMPTY_PATH);
    }
  }
  spawn->error = errno;
  for (;;)
    syscall(SYS_exit_group, 127);
}

/* clone3; the child calls function(argument) on the new stack and never returns. -errno on failure. */
static void reap(pid_t pid) {
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
}

static long clone3_call(struct clone_args *args, void (*function)(struct spawn *), struct spawn *argument) {
#if defined(__x86_64__)
  long result;
  register void (*entry)(struct spawn *) __asm__("r12") = function;
  register struct spawn *parameter __asm__("r13") = argument;
  __asm__ volatile("syscall\n\t"
                   "test %%rax, %%rax\n\t"
                   "jnz 1f\n\t"
                   "xor %%ebp, %%ebp\n\t"
                   "mov %[parameter], %%rdi\n\t"
                   "call *%[entry]\n\t"
                   "ud2\n"
                   "1:"
                   : "=a"(result)
                   : "a"((long)SYS_clone3), "D"(args), "S"(sizeof *args), [entry] "r"(entry), [parameter] "r"(parameter)
                   : "rcx", "r11", "memory", "cc");
  return result;
#elif defined(__aarch64__)
  register long number __asm__("x8") = SYS_clone3;
  register long x0 __asm__("x0") = (long)args;
  register long x1 __asm__("x1") = sizeof *args;
  register void (*entry)(struct spawn *) __asm__("x9") = function;
  register struct spawn *parameter __asm__("x10") = argument;
  __asm__ volatile("svc 0\n\t"
                   "cbnz x0, 1f\n\t"
                   "mov x29, xzr\n\t"
                   "mov x0, %[parameter]\n\t"
                   "blr %[entry]\n\t"
                   "brk 0\n"
                   "1:"
                   : "+r"(x0)
                   : "r"(number), "r"(x1), [entry] "r"(entry), [parameter] "r"(parameter)
                   : "memory", "cc");
  return x0;
#else
#error "pyrunc knows x86_64 and aarch64"
#endif
}

/* All signals are blocked meanwhile: a handler of the parent's must not run in the child. */
static long clone_blocked(struct clone_args *args, struct spawn *spawn) {
  uint64_t all = ~UINT64_C(0);
  uint64_t before;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  long pid = clone3_call(args, spawn_child, spawn);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
  return pid;
}

static int pyrunc_spawn(unsigned long long flags, int cgroup_fd, int init_fd, int plan_fd, const int *keep, int nkeep,
                        int preserve, const int *stdio, int raise, int *pidfd, int *at) {
  _Alignas(16) char stack[SPAWN_STACK];
  struct spawn spawn = {init_fd, plan_fd, keep, nkeep, preserve, stdio, raise, 0, AT_CLONE3};
  int child = -1;
  struct clone_args args = {
      .flags = flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
      .pidfd = (uint64_t)(uintptr_t)&child,
      .exit_signal = SIGCHLD,
      .stack = (uint64_t)(uintptr_t)stack,
      .stack_size = sizeof stack,
  };
  if (cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup_fd;
  }
  long pid = clone_blocked(&args, &spawn);
  *at = AT_CLONE3;
  if (pid < 0)
    return (int)pid;
  /* Another memory clobber: the child wrote spawn.error through the asm above. */
  __asm__ volatile("" ::: "memory");
  *at = spawn.at;
  if (spawn.error != 0) {
    reap((pid_t)pid);
    close(child);
    return -spawn.error;
  }
  *pidfd = child;
  return (int)pid;
}

/* --- pyrunc_sealed_memfd --- */

/* MFD_EXEC and MFD_NOEXEC_SEAL: Linux 6.3; before it a memfd can always be executed. */
static int make_memfd(const char *name, int executable) {
  unsigned flags = 0x0001u | 0x0002u; /* MFD_CLOEXEC, MFD_ALLOW_SEALING */
  long fd = syscall(SYS_memfd_create, name, flags | (executable ? 0x0010u : 0x0008u));
  if (fd < 0 && errno == EINVAL)
    fd = syscall(SYS_memfd_create, name, flags);
  return result_of(fd);
}

static int pyrunc_sealed_memfd(const char *name, const char *bytes, size_t size, int executable) {
  SCOPED_FD fd = make_memfd(name, executable);
  if (fd < 0)
    return fd;
  for (size_t done = 0; done < size;) {
    ssize_t written = write(fd, bytes + done, size - done);
    if (written < 0 && errno != EINTR)
      return -errno;
    if (written > 0)
      done += (size_t)written;
  }
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return -errno;
  return steal(&fd);
}

/* --- Mounts --- */

static int pyrunc_open_tree(const char *path, int recursive, int follow) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (recursive)
    flags |= AT_RECURSIVE;
  if (!follow)
    flags |= AT_SYMLINK_NOFOLLOW;
  return result_of(syscall(SYS_open_tree, AT_FDCWD, path, flags));
}

static int pyrunc_idmap(int tree_fd, int userns_fd, int recursive) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd};
  unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  return result_of(syscall(SYS_mount_setattr, tree_fd, "", flags, &attributes, sizeof attributes));
}

/* EAGAIN: something was renamed meanwhile, and `..` could not be trusted. */
static int pyrunc_open_in_root(int dir_fd, const char *path, int flags) {
  struct open_how how = {
      .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
      .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
  };
  int fd = -EAGAIN;
  for (int tries = 0; tries < 128 && (fd == -EAGAIN || fd == -EINTR); tries++) {
    fd = result_of(syscall(SYS_openat2, dir_fd, path, &how, sizeof how));
  }
  return fd;
}

static int pyrunc_detach(const char *path) {
  return result_of(syscall(SYS_umount2, path, 2 | 8)); /* MNT_DETACH | UMOUNT_NOFOLLOW */
}

/* --- The process --- */

static int pyrunc_raise_limit(int pid, int resource, unsigned long long hard) {
  struct rlimit64 limit;
  if (prlimit64(pid, resource, NULL, &limit) < 0)
    return -errno;
  if (limit.rlim_max >= hard)
    return 0;
  limit.rlim_max = hard;
  return prlimit64(pid, resource, &limit, NULL) < 0 ? -errno : 0;
}

static int pyrunc_setns(int fd, int nstype) { return result_of(syscall(SYS_setns, fd, nstype)); }

static int write_map(int pid, const char *name, const char *map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int result = write(fd, map, strlen(map)) < 0 ? -errno : 0;
  close(fd);
  return result;
}

/* A process has to be in it while the maps are written; it does nothing but wait for its end. */
int pyrunc_user_namespace(const char *uid_map, const char *gid_map) {
  struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  pid_t parent = getpid();
  long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(0); /* it died before */
    for (;;)
      syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
  }
  if (pid < 0)
    return -errno;
  char path[64];
  int result = write_map((int)pid, "uid_map", uid_map);
  if (result == 0)
    result = write_map((int)pid, "gid_map", gid_map);
  if (result == 0) {
    snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
    result = open(path, O_RDONLY | O_CLOEXEC);
    if (result < 0)
      result = -errno;
  }
  kill((pid_t)pid, SIGKILL);
  reap((pid_t)pid);
  return result;
}
