"""A config.json as Docker writes it: seccomp profile, ten mounts, masked paths, limits.

Run as a program it prints the configuration; arguments are the container's program.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# What an unprivileged container may call; 32-bit-only names are among them, as in Docker's.
_ALLOWED = """
accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 futex_waitv futimesat
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage
getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch
inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise membarrier
memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid
setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64
statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime
utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev arch_prctl
modify_ldt chroot ptrace process_vm_readv process_vm_writev
"""
ALLOWED = _ALLOWED.split()

_CAPABILITIES = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
SYS_CHROOT KILL AUDIT_WRITE
"""
CAPABILITIES = [f"CAP_{name}" for name in _CAPABILITIES.split()]
NAMESPACES = ("mount", "network", "uts", "pid", "ipc")
_MASKED = """
/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats
/proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware
/sys/devices/virtual/powercap
"""
MASKED = _MASKED.split()
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
SAFE = ["nosuid", "noexec", "nodev"]


def seccomp() -> dict[str, Any]:
    """The profile: a list of names, and the calls that depend on their arguments."""

    def argument(index: int, value: int, op: str, two: int = 0) -> dict[str, Any]:
        return {"index": index, "value": value, "valueTwo": two, "op": f"SCMP_CMP_{op}"}

    allow = "SCMP_ACT_ALLOW"
    rules: list[dict[str, Any]] = [{"names": ALLOWED, "action": allow}]
    rules += [
        {"names": ["personality"], "action": allow, "args": [argument(0, value, "EQ")]}
        for value in (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
    ]
    rules += [
        {"names": ["socket"], "action": allow, "args": [argument(0, 40, "NE")]},
        {"names": ["clone"], "action": allow, "args": [argument(0, 0x7E020000, "MASKED_EQ")]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }


def mount(destination: str, type_: str, *options: str, source: str = "") -> dict[str, Any]:
    return {
        "destination": destination,
        "type": type_,
        "source": source or type_,
        "options": list(options),
    }


def config(args: list[str], files: str = "") -> dict[str, Any]:
    """The configuration; `files` is a directory of the host with the three files of /etc."""
    devices = [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    ]
    mounts = [
        mount("/proc", "proc", *SAFE),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666"),
        mount("/sys", "sysfs", *SAFE, "ro"),
        mount("/sys/fs/cgroup", "cgroup", *SAFE, "ro"),
        mount("/dev/mqueue", "mqueue", *SAFE),
        mount("/dev/shm", "tmpfs", *SAFE, "mode=1777", "size=67108864", source="shm"),
    ]
    if files:
        mounts += [
            mount(f"/etc/{name}", "bind", "rbind", "rprivate", source=f"{files}/{name}")
            for name in ("resolv.conf", "hostname", "hosts")
        ]
    capabilities = {name: CAPABILITIES for name in ("bounding", "effective", "permitted")}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]},
            "args": args,
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOSTNAME=d0c4e2"],
            "cwd": "/",
            "capabilities": capabilities,
            "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs"},
        "hostname": "d0c4e2",
        "mounts": mounts,
        "linux": {
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}, *devices],
                "memory": {"limit": 512 << 20},
                "cpu": {"shares": 1024, "quota": 100000, "period": 100000},
                "pids": {"limit": 512},
            },
            "namespaces": [{"type": name} for name in NAMESPACES],
            "seccomp": seccomp(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }


if __name__ == "__main__":
    json.dump(config(sys.argv[1:] or ["sh"]), sys.stdout, indent=1)
