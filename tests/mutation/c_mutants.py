"""Broken C: pyrunc-init, and the module that starts it."""

from __future__ import annotations

from tests.mutation.mutants import Mutant

_INIT = "_native/init.c"
_GATE = "_native/init_gate.c"
_EXEC = "_native/init_exec.c"
_INIT_PROCESS = "_native/init_process.c"
_IDENTITY = "_native/init_identity.c"
_LIMITS = "_native/init_limits.c"
_NAMESPACES = "_native/init_namespaces.c"
_HIDE = "_native/init_hide.c"
_ROOT = "_native/init_root.c"
_PATH = "_native/init_path.c"
_PROCESS = "integration/test_process.py::test_"
_SECURITY = "integration/test_hiding.py::test_"
_MOUNTS = "integration/test_mounts.py::test_"
_MASKS = "security/test_masks.py::test_"
_LEAKS = "security/test_leaks.py::test_"

C_MUTANTS = (
    Mutant(
        "a mask that is not put there",
        _HIDE,
        "attach(c, tree, onto, path);\n  retire(c, tree);\n  retire(c, onto);\n  if",
        "retire(c, tree);\n  retire(c, onto);\n  if",
        _SECURITY + "masked_paths",
    ),
    Mutant(
        "a mount on the root that nobody sees",
        "_native/init_mount.c",
        "if (!covers)",
        "if (!covers || c->root >= 0)",
        "security/test_destinations.py::test_a_mount_on_the_root_is_the_root[/-]",
    ),
    Mutant(
        "a bind that takes the host's mounts along",
        "_native/init_mount.c",
        "set_propagation(c, tree, MS_PRIVATE | MS_REC_FLAG, path);",
        "",
        "security/test_host_mounts.py::test_a_bind_takes_no_mount_of_the_host_along[rbind-rslave-True]",
    ),
    Mutant(
        "a rootfs that takes the host's mounts along",
        _ROOT,
        "set_propagation(c, tree, MS_SLAVE | MS_REC_FLAG, path);",
        "",
        "security/test_host_mounts.py::test_a_container_without_a_mount_namespace_takes_none_along",
    ),
    Mutant(
        "a mask that can be written to",
        _HIDE,
        "tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID",
        "tree, MOUNT_ATTR_NOSUID",
        _MASKS + "a_masked_directory_can_not_be_used",
    ),
    Mutant(
        "a read-only path whose mounts below are not",
        _HIDE,
        "MOUNT_ATTR_RDONLY, 0, true, path",
        "MOUNT_ATTR_RDONLY, 0, false, path",
        _MASKS + "read_only_includes_what_is_mounted_below",
    ),
    Mutant(
        "a read-only root that is not remounted",
        _ROOT,
        "open_root(c), MOUNT_ATTR_RDONLY, 0",
        "open_root(c), 0, 0",
        _MOUNTS + "read_only_root",
    ),
    Mutant(
        "the old root left mounted",
        _ROOT,
        'must(c, SYS(umount2, ".", MNT_DETACH_FLAG), PLAN_AT_UMOUNT, NULL);',
        "",
        _MOUNTS + "the_host_is_not_in_the_mount_table",
    ),
    Mutant(
        "a mount that may have devices and set-user-id files",
        "_native/init_mount.c",
        "FSMOUNT_CLOEXEC, attributes)",
        "FSMOUNT_CLOEXEC, 0)",
        "integration/test_mount_options.py",
    ),
    # Nothing is made by this test, as it would be made on the host.
    Mutant(
        "paths of the rootfs that begin at the host's root",
        _PATH,
        "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS",
        "RESOLVE_NO_MAGICLINKS",
        _SECURITY + "masked_paths",
    ),
    Mutant(
        "a device that is another one",
        "_native/init_device.c",
        "(uint32_t)status->st_rdev == (uint32_t)device",
        "true",
        "security/test_rootfs_files.py::test_a_default_device_that_is_something_else",
    ),
    Mutant(
        "no_new_privs ignored by init",
        _IDENTITY,
        "must(c, SYS(prctl, PR_SET_NO_NEW_PRIVS, 1), PLAN_AT_NONE, NULL);",
        "(void)c;",
        _PROCESS + "no_new_privileges",
    ),
    Mutant(
        "a capability not dropped",
        _IDENTITY,
        "result = SYS(prctl, PR_CAPBSET_DROP, capability);",
        "result = capability == 21 ? 0 : SYS(prctl, PR_CAPBSET_DROP, capability);",
        _PROCESS + "capabilities",
    ),
    Mutant(
        "capabilities that come back at exec",
        _IDENTITY,
        "inheritable >> (word * 32)",
        "permitted >> (word * 32)",
        "security/test_identity.py::test_no_capability_is_inherited",
    ),
    Mutant(
        "a cgroup not joined",
        _NAMESPACES,
        'write_all(c, fd, "0", 1, text(c, 1));',
        "",
        "integration/test_cgroup.py::test_pids_limit_works",
    ),
    Mutant(
        "the groups of the caller kept by init",
        _IDENTITY,
        "SYS(setgroups, size / sizeof(uint32_t), size ? text(c, 0) : NULL)",
        "0",
        _PROCESS + "no_groups_of_the_caller",
    ),
    Mutant(
        "a hard limit not set",
        _LIMITS,
        "{number(c, 1), number(c, 2)}",
        "{number(c, 1), number(c, 2) + 1}",
        _PROCESS + "rlimits",
    ),
    Mutant(
        "a device of the caller's given away",
        _INIT_PROCESS,
        "type == S_IFIFO ||",
        "type == S_IFCHR || type == S_IFIFO ||",
        "security/test_rootfs_files.py::test_standard_output_that_is_a_device_stays_its_owners",
    ),
    Mutant(
        "SIGPIPE left ignored by init",
        _INIT,
        "if (ignored >> (signal - 1) & 1)",
        "if (signal != 13 && ignored >> (signal - 1) & 1)",
        _PROCESS + "signals_are_reset",
    ),
    Mutant(
        "signals left blocked",
        _INIT,
        "SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, nothing, 0, 8);",
        "",
        _LEAKS + "signals_that_the_caller_blocks",
    ),
    Mutant(
        "a filter that is not loaded",
        _EXEC,
        "long result = SYS(seccomp, SECCOMP_SET_MODE_FILTER, number(c, 1), &program);",
        "long result = program.len == 0;",
        _SECURITY + "seccomp_errno",
    ),
    Mutant(
        "one descriptor too many preserved",
        _EXEC,
        "fd < 3 + (int64_t)c->plan.header->preserve",
        "fd < 4 + (int64_t)c->plan.header->preserve",
        _PROCESS + "no_more_than_the_preserved_are_open",
    ),
    Mutant(
        "an init that outlives its container",
        _GATE,
        "watch >= 0 &&",
        "false &&",
        "integration/test_lifecycle.py::test_init_ends_when_its_state_is_gone",
    ),
    Mutant(
        "a failing hook ignored by init",
        "_native/init_hook.c",
        "if (status != 0)",
        "if (status == -1)",
        "integration/test_hooks.py::test_failure_before_start",
    ),
    Mutant(
        "close_range left out",
        "_native/clone.c",
        "if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)",
        "if (spawn->nkeep < 0)",
        _LEAKS + "a_created_container_holds_nothing_of_the_callers",
    ),
    Mutant(
        "an init that can be changed",
        "_native/clone.c",
        "F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE",
        "F_SEAL_SHRINK",
        _LEAKS + "init_is_a_sealed_copy",
    ),
)
