/* The plan: what Python asks and C does. One header for both; build.py makes
 * pyrunc/plan/opcodes.py out of it.
 *
 * A plan is one block of bytes in a sealed memfd, mapped read-only by pyrunc-init:
 *
 *     struct plan_header
 *     struct plan_step  [nsteps]
 *     int32_t           [nfds]      descriptor numbers, written by the parent when it has opened them
 *     blob                          strings and byte strings
 *
 * Every number is little-endian and native. A step is an opcode and eight 64-bit arguments. The signature
 * of an opcode says what each argument is, and the decoder checks it before the first step runs:
 *
 *     i  a number
 *     s  text: offset into the whole plan << 32 | length; a NUL follows it and none is inside
 *     b  bytes: offset << 32 | length
 *     v  texts: offset << 32 | count of an array of 's' references (8 bytes each, aligned to 8)
 *     f  index into the table of descriptors, or ~0 for none
 */
#ifndef PYRUNC_PLAN_H
#define PYRUNC_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC 0x4e4c50636e757279 /* "yruncPLN" */
#define PLAN_VERSION 1
#define PLAN_ARGUMENTS 9

struct plan_header {
  uint64_t magic;
  uint32_t version;
  uint32_t size; /* of the whole plan, bytes */
  uint32_t nsteps;
  uint32_t nfds;
  int32_t control;  /* descriptor of the SOCK_SEQPACKET to the parent */
  int32_t listener; /* descriptor of the listening SOCK_SEQPACKET for `start`, -1: START comes on control */
  int32_t watch;    /* O_PATH descriptor of the socket's file: without a link, nobody can START; -1: none */
  int32_t preserve; /* how many descriptors from 3 on the container keeps */
  uint64_t ignored; /* bit n-1: signal n is ignored by the parent, and must not be by the container */
  uint64_t trace;   /* 1: tell when each step begins (MSG_STEP), until GATE; START's value says it from there on */
};

struct plan_step {
  uint32_t op;
  uint32_t reserved; /* 0 */
  uint64_t arg[PLAN_ARGUMENTS];
};

/* PLAN_STEP(NAME, "signature")   what it does. Paths are inside the rootfs unless it is said otherwise. */
#define PLAN_STEPS \
  /* fd, or without one the host path of a file: write "0" to it (cgroup v1 `tasks`, or cgroup.procs) */ \
  PLAN_STEP(CGROUP_JOIN, "fs") \
  /* fd, CLONE_NEW* type (0: any) : setns */ \
  PLAN_STEP(SETNS, "fi") \
  /* go on in a child with the same parent (CLONE_PARENT); tell its pid (MSG_PID) and exit */ \
  PLAN_STEP(FORK, "") \
  /* CLONE_NEW* flags */ \
  PLAN_STEP(UNSHARE, "i") \
  /* text for /proc/self/timens_offsets: unshare a time namespace, set its offsets, enter it */ \
  PLAN_STEP(TIME_NAMESPACE, "s") \
  /* stage: send MSG_STAGE, wait for MSG_GO */ \
  PLAN_STEP(SYNC, "i") \
  /* after the id maps are written: no groups if allowed (1: they stay), gid 0, uid 0, keep capabilities */ \
  PLAN_STEP(BECOME_ROOT, "i") \
  /* bring up the loopback device */ \
  PLAN_STEP(LOOPBACK, "") \
  /* MS_* propagation: set it on the whole old tree, recursively */ \
  PLAN_STEP(PROPAGATE, "i") \
  /* fd of a detached tree (none: a copy of what is there), host path where it is attached: this becomes the \
   * rootfs */ \
  PLAN_STEP(ROOTFS, "fs") \
  /* type, source, parameters ("key" or "key=value"), MOUNT_ATTR_* to set, MS_* propagation or 0, destination, \
   * MOUNT_* flags and MS_*<<32 of mount(2), user namespace to id-map it by or none, SELinux label of its root \
   * that no parameter gives, or "": fsopen, fsconfig, fsmount, move_mount */ \
  PLAN_STEP(MOUNT, "ssviisifs") \
  /* parameters, MOUNT_ATTR_* of the mount set<<32|clear, of all below set<<32|clear, MS_* propagation or 0, path: \
   * changes what is mounted there */ \
  PLAN_STEP(REMOUNT, "viiis") \
  /* fd of a detached tree, attributes set<<32|clear, recursive attributes set<<32|clear, MS_* propagation or 0, \
   * destination, BIND_* flags, without a descriptor: the host path to clone in the namespace of init */ \
  PLAN_STEP(BIND, "fiiisis") \
  /* host path of a cgroup, name: bind it below the last mount with MOUNT_CGROUPS */ \
  PLAN_STEP(CGROUP_BIND, "ss") \
  /* MOUNT_ATTR_* to set, MS_* propagation or 0: for that mount, and all that is below it by now */ \
  PLAN_STEP(CGROUP_SEAL, "ii") \
  /* path, mode with type, device number, uid, gid: an existing file must be the same device */ \
  PLAN_STEP(MKNOD, "siiii") \
  /* host path of a device, path: bind it (where mknod is impossible), S_IFMT | rdev it must have: type, rdev */ \
  PLAN_STEP(BIND_DEVICE, "ssii") \
  /* target, path: a link; one that exists stays (flag 1: is replaced) */ \
  PLAN_STEP(SYMLINK, "ssi") \
  /* path, parameter of the tmpfs of masks or "": cannot be read from here on; a missing path is fine */ \
  PLAN_STEP(MASK, "ss") \
  /* path: read-only with all below; a missing path is fine */ \
  PLAN_STEP(READONLY, "s") \
  /* the rootfs itself becomes read-only */ \
  PLAN_STEP(ROOT_READONLY, "") \
  /* MS_* propagation of the rootfs after pivot_root */ \
  PLAN_STEP(ROOT_PROPAGATION, "i") \
  /* host path, argv, environment, timeout in seconds (0: none), state JSON before and after the pid, \
   * index among the hooks of its kind : run it and wait */ \
  PLAN_STEP(HOOK, "svviss") \
  /* PIVOT_ROOT, PIVOT_MOVE or PIVOT_CHROOT: the rootfs becomes / */ \
  PLAN_STEP(PIVOT, "i") \
  /* fd of a directory: it becomes / (exec, where the container has no mount namespace of its own) */ \
  PLAN_STEP(CHROOT, "f") \
  /* path below /proc/sys, value: written through a verified procfs */ \
  PLAN_STEP(SYSCTL, "ss") \
  PLAN_STEP(HOSTNAME, "s") \
  PLAN_STEP(DOMAINNAME, "s") \
  /* a new session keyring, without a name: by its name others could have made it before */ \
  PLAN_STEP(KEYRING, "") \
  /* connected socket for the pty's master, columns, rows, uid that owns it, flags (1: bind /dev/console) */ \
  PLAN_STEP(CONSOLE, "fiiii") \
  /* file below /proc/self, value: written through a verified procfs (labels of LSMs, oom_score_adj) */ \
  PLAN_STEP(PROC_WRITE, "ss") \
  PLAN_STEP(PERSONALITY, "i") \
  /* policy, nice, priority, flags, runtime, deadline, period: sched_setattr */ \
  PLAN_STEP(SCHEDULER, "iiiiiii") \
  /* ioprio value, for the process group */ \
  PLAN_STEP(IO_PRIORITY, "i") \
  /* mask of CPUs, bit n is CPU n: sched_setaffinity */ \
  PLAN_STEP(AFFINITY, "b") \
  /* mode with flags, node mask bytes (64-bit words), number of bits */ \
  PLAN_STEP(MEMORY_POLICY, "ibi") \
  /* uid: stdio that is a pipe, socket or file goes to it */ \
  PLAN_STEP(STDIO_OWNER, "i") \
  PLAN_STEP(SETSID, "") \
  /* resource, soft, hard */ \
  PLAN_STEP(RLIMIT, "iii") \
  /* mask of the bounding set to keep, bit n is capability n */ \
  PLAN_STEP(BOUNDING, "i") \
  /* bytes: uint32 gids */ \
  PLAN_STEP(SETGROUPS, "b") \
  /* uid, gid: keeps the permitted set */ \
  PLAN_STEP(SETIDS, "ii") \
  PLAN_STEP(UMASK, "i") \
  /* uid: EXEC adds HOME, from the container's /etc/passwd */ \
  PLAN_STEP(HOME, "i") \
  /* path, flags (1: create it when missing): chdir, and be sure to be inside the root */ \
  PLAN_STEP(CHDIR, "si") \
  /* effective, permitted, inheritable masks */ \
  PLAN_STEP(CAPABILITIES, "iii") \
  /* ambient mask */ \
  PLAN_STEP(AMBIENT, "i") \
  PLAN_STEP(NO_NEW_PRIVILEGES, "") \
  /* args[0], value of PATH: find the executable; kept for EXEC */ \
  PLAN_STEP(LOOKUP, "ss") \
  /* send MSG_READY; wait for MSG_GO of the parent, then for MSG_START on listener (or control) */ \
  PLAN_STEP(GATE, "") \
  /* program (struct sock_filter[]), SECCOMP_FILTER_FLAG_* */ \
  PLAN_STEP(SECCOMP, "bi") \
  /* argv, environment: becomes the user's process; does not return. An empty argv: "no process" error */ \
  PLAN_STEP(EXEC, "vv")

enum plan_op {
  PLAN_OP_NONE = 0,
#define PLAN_STEP(name, signature) PLAN_OP_##name,
  PLAN_STEPS
#undef PLAN_STEP
      PLAN_OP_END
};

#define PLAN_MOUNT_PROC 2       /* it is the procfs that writes go through from here on */
#define PLAN_MOUNT_DEVPTS 4     /* it is the devpts of the console */
#define PLAN_MOUNT_LEGACY 8     /* a parameter is too long for fsconfig: mount(2) on the destination's fd */
#define PLAN_MOUNT_CGROUPS 32   /* CGROUP_BIND binds below it */
#define PLAN_MOUNT_COPY_UP 64   /* it begins with what its destination holds */
#define PLAN_MOUNT_COPY_OWN 128 /* and has the destination's own owner and mode */
#define PLAN_BIND_RECURSIVE 2   /* of a host path: with all that is mounted below it */
#define PLAN_BIND_AGAIN 4       /* clone the attached directory once more: mountinfo is in the order of cloning */

#define PLAN_PIVOT_ROOT 0
#define PLAN_PIVOT_MOVE 1
#define PLAN_PIVOT_CHROOT 2

#define PLAN_STAGE_IDMAP 1  /* parent writes the id maps */
#define PLAN_STAGE_CGROUP 3 /* parent puts init into its cgroup, which can't be made before there is a process */
#define PLAN_STAGE_CREATE_RUNTIME 2 /* mounts are there: parent runs prestart and createRuntime hooks */

/* Messages on the SOCK_SEQPACKET, both ways: this struct, then text (not NUL-terminated). */
#define PLAN_MSG_STAGE 1    /* init → parent: value = stage */
#define PLAN_MSG_GO 2       /* parent → init */
#define PLAN_MSG_READY 3    /* init → parent: created */
#define PLAN_MSG_START 4    /* start → init */
#define PLAN_MSG_EXEC 5     /* init → start: execve comes next; end of file after it: it worked */
#define PLAN_MSG_FAILED 6   /* init → parent or start: step number, errno, detail, text */
#define PLAN_MSG_WARNING 7  /* init → parent: step number, errno, text, value (CAPABILITIES: those missing) */
#define PLAN_MSG_PID 8      /* init → parent: value = pid of the process that goes on */
#define PLAN_MSG_LISTENER 9 /* init → parent or start: the seccomp listener comes with SCM_RIGHTS */
#define PLAN_MSG_STEP 10    /* init → parent or start: a step begins; value = CLOCK_REALTIME, nanoseconds */

struct plan_message {
  uint32_t kind;
  uint32_t step;   /* index of the step, from 0 */
  int32_t error;   /* errno */
  uint32_t detail; /* PLAN_AT_*: which call of the step */
  int64_t value;
};

/* detail of a failure: the call that was refused */
#define PLAN_AT_NONE 0
#define PLAN_AT_OPEN 1 /* openat2 */
#define PLAN_AT_MKDIR 2
#define PLAN_AT_FSOPEN 3
#define PLAN_AT_FSCONFIG 4 /* text: the parameter */
#define PLAN_AT_FSMOUNT 5
#define PLAN_AT_SETATTR 6 /* mount_setattr */
#define PLAN_AT_MOVE 7    /* move_mount */
#define PLAN_AT_OPENTREE 8
#define PLAN_AT_WRITE 9
#define PLAN_AT_NOT_PROC 10 /* not a procfs */
#define PLAN_AT_OCCUPIED 11 /* another file is there */
#define PLAN_AT_FORK 12
#define PLAN_AT_HOOK_EXIT 13 /* value = wait status; text = its standard error */
#define PLAN_AT_HOOK_TIMEOUT 14
#define PLAN_AT_HOOK_EXEC 15
#define PLAN_AT_EXECVE 16
#define PLAN_AT_LOOKUP 17
#define PLAN_AT_CHOWN 18
#define PLAN_AT_CHDIR 19
#define PLAN_AT_OUTSIDE 20 /* the working directory is not inside the root */
#define PLAN_AT_SETGROUPS 21
#define PLAN_AT_SETGID 22
#define PLAN_AT_SETUID 23
#define PLAN_AT_SETNS 24
#define PLAN_AT_PTMX 25
#define PLAN_AT_SENDMSG 26
#define PLAN_AT_MKNOD 27
#define PLAN_AT_PIVOT 28
#define PLAN_AT_UMOUNT 29
#define PLAN_AT_DECODE 30 /* the plan is broken */
#define PLAN_AT_CLOSE_RANGE 31
#define PLAN_AT_COPY 32  /* tmpcopyup */
#define PLAN_AT_LABEL 33 /* fsetxattr */

#endif
