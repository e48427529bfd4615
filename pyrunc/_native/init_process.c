/* Steps that change the process itself: namespaces, ids, capabilities, limits, labels. */
#include <linux/keyctl.h>

#include "init.h"

static void write_all(struct init *c, int fd, const char *bytes, size_t size, const char *subject) {
  long written;
  do {
    written = SYS(write, fd, bytes, size);
  } while (written == -EINTR);
  if (written >= 0 && (size_t)written != size)
    written = -EIO;
  must(c, written, PLAN_AT_WRITE, subject);
}

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

/* clone.c raised ambient capabilities to bring them over the exec of pyrunc-init; root needs none. */
void step_become_root(struct init *c) {
  if (!number(c, 0))
    SYS(setgroups, 0, 0); /* denied where an unprivileged user wrote the maps */
  must(c, SYS(setresgid, 0, 0, 0), PLAN_AT_SETGID, NULL);
  must(c, SYS(setresuid, 0, 0, 0), PLAN_AT_SETUID, NULL);
  SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
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

void step_hostname(struct init *c) { must(c, SYS(sethostname, text(c, 0), text_size(c, 0)), PLAN_AT_NONE, text(c, 0)); }

void step_domainname(struct init *c) {
  must(c, SYS(setdomainname, text(c, 0), text_size(c, 0)), PLAN_AT_NONE, text(c, 0));
}

void step_keyring(struct init *c) {
  long result = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  if (result != -ENOSYS)
    must(c, result, PLAN_AT_NONE, NULL);
}

void step_personality(struct init *c) { must(c, SYS(personality, number(c, 0)), PLAN_AT_NONE, NULL); }

/* SCHED_ATTR_SIZE_VER0 of the kernel's struct sched_attr. */
struct scheduler_attributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

void step_scheduler(struct init *c) {
  struct scheduler_attributes attributes = {
      .size = sizeof attributes,
      .policy = (uint32_t)number(c, 0),
      .nice = (int32_t)number(c, 1),
      .priority = (uint32_t)number(c, 2),
      .flags = number(c, 3),
      .runtime = number(c, 4),
      .deadline = number(c, 5),
      .period = number(c, 6),
  };
  must(c, SYS(sched_setattr, 0, &attributes, 0), PLAN_AT_NONE, NULL);
}

void step_io_priority(struct init *c) {
  must(c, SYS(ioprio_set, 2 /* IOPRIO_WHO_PGRP */, 0, number(c, 0)), PLAN_AT_NONE, NULL);
}

void step_affinity(struct init *c) {
  must(c, SYS(sched_setaffinity, 0, text_size(c, 0), text(c, 0)), PLAN_AT_NONE, NULL);
}

void step_memory_policy(struct init *c) {
  if (number(c, 2) > (uint64_t)text_size(c, 1) * 8)
    fail(c, PLAN_AT_DECODE, EINVAL, 0, NULL);
  const char *mask = text_size(c, 1) ? text(c, 1) : NULL;
  /* The kernel counts one bit less than it is told. */
  uint64_t bits = mask ? number(c, 2) + 1 : 0;
  must(c, SYS(set_mempolicy, number(c, 0), mask, bits), PLAN_AT_NONE, NULL);
}

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

void step_bounding(struct init *c) {
  for (int capability = 0; capability < 64; capability++) {
    if (number(c, 0) >> capability & 1)
      continue;
    long result = SYS(prctl, PR_CAPBSET_DROP, capability);
    if (result == -EINVAL)
      return; /* beyond the kernel's last */
    must(c, result, PLAN_AT_NONE, NULL);
  }
}

void step_setgroups(struct init *c) {
  uint32_t size = text_size(c, 0);
  long result = SYS(setgroups, size / sizeof(uint32_t), size ? text(c, 0) : NULL);
  if (size == 0 && result == -EPERM)
    return; /* denied in this user namespace: there is nothing to drop */
  must(c, result, PLAN_AT_SETGROUPS, NULL);
}

struct capabilities {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct data[2];
};

static long get_capabilities(struct capabilities *all) {
  all->header.version = _LINUX_CAPABILITY_VERSION_3;
  all->header.pid = 0;
  return SYS(capget, &all->header, all->data);
}

/* A change from root to another user keeps the permitted set, but the effective one has to be raised. */
void step_setids(struct init *c) {
  struct capabilities all;
  bool root = number(c, 0) == 0;
  if (!root)
    must(c, SYS(prctl, PR_SET_KEEPCAPS, 1), PLAN_AT_NONE, NULL);
  must(c, SYS(setresgid, number(c, 1), number(c, 1), number(c, 1)), PLAN_AT_SETGID, NULL);
  must(c, SYS(setresuid, number(c, 0), number(c, 0), number(c, 0)), PLAN_AT_SETUID, NULL);
  if (root)
    return;
  must(c, SYS(prctl, PR_SET_KEEPCAPS, 0), PLAN_AT_NONE, NULL);
  must(c, get_capabilities(&all), PLAN_AT_NONE, NULL);
  for (int i = 0; i < 2; i++)
    all.data[i].effective = all.data[i].permitted;
  must(c, SYS(capset, &all.header, all.data), PLAN_AT_NONE, NULL);
}

void step_rlimit(struct init *c) {
  uint64_t limit[2] = {number(c, 1), number(c, 2)};
  must(c, SYS(prlimit64, 0, number(c, 0), limit, 0), PLAN_AT_NONE, NULL);
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

static void set_word(struct capabilities *all, int word, uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  all->data[word].effective = (uint32_t)(effective >> (word * 32));
  all->data[word].permitted = (uint32_t)(permitted >> (word * 32));
  all->data[word].inheritable = (uint32_t)(inheritable >> (word * 32));
}

static long set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct capabilities all = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
  for (int word = 0; word < 2; word++)
    set_word(&all, word, effective, permitted, inheritable);
  return SYS(capset, &all.header, all.data);
}

/* What the process has not got cannot be given to it: that is a warning, not a failure. */
void step_capabilities(struct init *c) {
  uint64_t permitted = number(c, 1);
  long result = set_capabilities(number(c, 0), permitted, number(c, 2));
  if (result == -EPERM) {
    struct capabilities now;
    must(c, get_capabilities(&now), PLAN_AT_NONE, NULL);
    uint64_t had = now.data[0].permitted | (uint64_t)now.data[1].permitted << 32;
    uint64_t could = had | now.data[0].inheritable | (uint64_t)now.data[1].inheritable << 32;
    uint64_t missing = (permitted & ~had) | (number(c, 2) & ~could);
    permitted &= had;
    result = set_capabilities(number(c, 0) & permitted, permitted, number(c, 2) & could);
    warn(c, PLAN_AT_NONE, EPERM, (int64_t)missing, NULL);
  }
  must(c, result, PLAN_AT_NONE, NULL);
}

void step_ambient(struct init *c) {
  SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  for (int capability = 0; capability < 64; capability++) {
    if (number(c, 0) >> capability & 1)
      SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
  }
}

void step_no_new_privileges(struct init *c) { must(c, SYS(prctl, PR_SET_NO_NEW_PRIVS, 1), PLAN_AT_NONE, NULL); }
