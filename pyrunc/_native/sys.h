/* Raw system calls for x86_64 and aarch64: pyrunc-init has no libc. A call returns -errno on failure. */
#ifndef PYRUNC_SYS_H
#define PYRUNC_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>

#if defined(__x86_64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

#else
#error "pyrunc-init knows x86_64 and aarch64"
#endif

/* SYS(name, arguments...): one to six, missing ones are 0. */
#define SYS_PICK(number, a, b, c, d, e, f, ...) \
  sys6(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(name, ...) SYS_PICK(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

#define SIGCHLD_NUMBER 17
#define SIGKILL_NUMBER 9
#define SIGNAL_LAST 64
#define MS_REC_FLAG 16384
#define MNT_DETACH_FLAG 2
#define PATH_SIZE 4096

struct sys_iovec {
  const void *base;
  size_t length;
};

struct sys_msghdr {
  void *name;
  int namelen;
  struct sys_iovec *iov;
  size_t iovlen;
  void *control;
  size_t controllen;
  unsigned int flags;
};

/* A control message that carries one descriptor. */
struct sys_rights {
  size_t length;
  int level;
  int type;
  int fd;
  int padding;
};

struct sys_pollfd {
  int fd;
  short events;
  short revents;
};

#define SYS_MSG_NOSIGNAL 0x4000
#define SYS_SOL_SOCKET 1
#define SYS_SCM_RIGHTS 1
#define SYS_AF_INET 2
#define SYS_SOCK_DGRAM 2

void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);
size_t strlen(const char *text);

_Noreturn static inline void sys_exit(int status) {
  for (;;)
    SYS(exit_group, status);
}

static inline void sys_close(int fd) {
  if (fd >= 0)
    SYS(close, fd);
}

/* fork: a child with its own copy of everything. pidfd: used with CLONE_PIDFD only. */
static inline int sys_fork(uint64_t flags, int *pidfd) { return (int)SYS(clone, flags | SIGCHLD_NUMBER, 0, pidfd); }

#endif
