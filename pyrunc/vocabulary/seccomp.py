"""Words of linux.seccomp: seccomp(2), numbers of libseccomp and of linux/seccomp.h."""

from __future__ import annotations

# SCMP_ACT_*, which are the kernel's SECCOMP_RET_*
ACTIONS: dict[str, int] = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
# Actions that carry a value, and the largest: MAX_ERRNO of the kernel, or all of the 16 bits.
WITH_VALUE: dict[str, int] = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}
OPERATORS: dict[str, int] = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
# SECCOMP_FILTER_FLAG_* that a configuration may ask for
FLAGS: dict[str, int] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
# Word of the spec → name that libseccomp knows the architecture by.
ARCHITECTURES: dict[str, str] = {
    "SCMP_ARCH_" + name.upper(): name
    for name in (
        *("x86", "x86_64", "x32", "arm", "aarch64"),
        *("mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32"),
        *("ppc", "ppc64", "ppc64le", "s390", "s390x", "parisc", "parisc64", "riscv64"),
        *("loongarch64", "m68k", "sh", "sheb"),
    )
}
