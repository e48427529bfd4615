"""Broken pyruncs: in which file what is replaced by what, and the test that must notice it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """``file``: below pyrunc/. ``old`` is there exactly once. ``tests``: below tests/, for pytest."""

    name: str
    file: str
    old: str
    new: str
    tests: str


_LISTS = '(("readonlyPaths", opcodes.READONLY), ("maskedPaths", opcodes.MASK))'
_SETIDS = "plan.add(opcodes.SETIDS, uid, gid, path=user.path)"
_APPLY = "limits_v1.apply(resources, self.paths(), self._made_directories(), fresh=fresh)"
_ENCODE = "plan.encode(opened.fds, theirs, listener, watch, preserve, ignored(), trace)"
_IGNORES = 'return int(read_file("/proc/self/status").partition(b"\\nSigIgn:\\t")[2][:16], 16)'
_PROCESS = "integration/test_process.py::test_"
_SECURITY = "integration/test_hiding.py::test_"
_LIFECYCLE = "integration/test_lifecycle.py::test_"
_MOUNTS = "integration/test_mounts.py::test_"


def _without(key: str) -> str:
    return _APPLY.replace("resources,", f'{{k: v for k, v in resources.items() if k != "{key}"}},', 1)


MUTANTS = (
    # What protects the host from the container
    Mutant("a mask dropped", "plan/security.py", _LISTS, f"{_LISTS}[:1]", _SECURITY + "masked_paths"),
    Mutant("a read-only path dropped", "plan/security.py", _LISTS, f"{_LISTS}[1:]",
           _SECURITY + "read_only_paths"),
    Mutant(
        "a capability too many in the bounding set", "plan/process.py",
        'self._mask(sets, "bounding")', 'self._mask(sets, "bounding") | 1 << 21', _PROCESS + "capabilities",
    ),
    Mutant(
        "a capability too many in the inheritable set", "plan/process.py",
        'self._mask(sets, "inheritable")', 'self._mask(sets, "inheritable") | 1 << 21',
        _PROCESS + "capabilities",
    ),
    Mutant(
        "no capabilities means all", "plan/process.py",
        "mask = 0\n", "mask = 0 if sets.data else (1 << 41) - 1\n",
        _PROCESS + "no_capabilities_when_there_are_none",
    ),
    Mutant(
        "ambient capabilities dropped", "plan/process.py",
        'self._mask(sets, "ambient") &', "0 &", _PROCESS + "ambient_capabilities_of_a_user",
    ),
    Mutant(
        "no_new_privs left out", "plan/process.py",
        'plan.add(opcodes.NO_NEW_PRIVILEGES, path=process.at("noNewPrivileges"))', "pass",
        _PROCESS + "no_new_privileges",
    ),
    Mutant(
        "seccomp left out", "plan/process.py",
        'if host.seccomp is not None and "args" in process:', "if False:", _SECURITY + "seccomp_errno",
    ),
    Mutant(
        "a writable root", "plan/rootfs.py",
        'if spec.child("root").flag("readonly"):', "if False:", _MOUNTS + "read_only_root",
    ),
    Mutant(
        "a writable bind", "vocabulary/mount_options.py",
        '"ro": (RDONLY, 0)', '"ro": (0, 0)', _MOUNTS + "read_only_bind",
    ),
    Mutant(
        "mounts that come out", "plan/rootfs.py",
        "plan.add(opcodes.PROPAGATE, old | MS_REC", "plan.add(opcodes.PROPAGATE, MS_SHARED | MS_REC",
        _MOUNTS + "a_host_whose_mounts_are_shared",
    ),
    Mutant("the keyring of the caller", "plan/process.py", "plan.add(opcodes.KEYRING)", "pass",
           "security/test_leaks.py::test_a_session_keyring_of_its_own[run]"),
    Mutant("a rule for devices dropped", "cgroup/v1.py", _APPLY, _without("devices"),
           "integration/test_devices.py::test_devices_that_are_not_allowed"),
    Mutant("a memory limit dropped", "cgroup/v1.py", _APPLY, _without("memory"),
           "integration/test_cgroup.py::test_limit"),
    Mutant("a limit of processes dropped", "cgroup/v1.py", _APPLY, _without("pids"),
           "integration/test_cgroup.py::test_pids_limit_works"),
    Mutant(
        "a namespace shared with the host", "plan/namespaces.py",
        "self.new |= flag", "self.new |= flag & ~CLONE_NEWNET",
        "integration/test_namespaces.py::test_new_and_shared_namespaces",
    ),
    Mutant("a leaked descriptor", "launch.py", _ENCODE, _ENCODE.replace("preserve", "preserve + 8"),
           _PROCESS + "only_the_standard_files_are_open"),
    Mutant(
        "a leaked variable", "plan/process.py",
        "return list(entries.values())", 'return [*entries.values(), "LEAKED=1"]',
        _PROCESS + "environment_is_only_what_is_configured",
    ),
    # The process
    Mutant("the wrong user", "plan/process.py", _SETIDS, _SETIDS.replace("uid,", "0,", 1),
           _PROCESS + "user_and_groups"),
    Mutant("the wrong group", "plan/process.py", _SETIDS, _SETIDS.replace("gid,", "0,", 1),
           _PROCESS + "user_and_groups"),
    Mutant("groups of the caller", "plan/process.py", "if not keeps_groups(spec):", "if False:",
           _PROCESS + "no_groups_of_the_caller"),
    Mutant("a umask ignored", "plan/process.py", 'if "umask" in user:', "if False:", _PROCESS + "umask"),
    Mutant(
        "a limit of resources dropped", "plan/process.py",
        "plan.add(opcodes.RLIMIT, resource, soft, hard, path=item.path)", "pass", _PROCESS + "rlimits",
    ),
    Mutant("SIGPIPE left ignored", "launch.py", _IGNORES, f"{_IGNORES} & ~(1 << 12)",
           _PROCESS + "signals_are_reset"),
    Mutant(
        "signals of the C library left ignored", "launch.py",
        _IGNORES, f"{_IGNORES} & ~(3 << 31)", _PROCESS + "signals_of_the_c_library_are_reset",
    ),
    Mutant(
        "oom_score_adj left out", "creation.py",
        'if "oomScoreAdj" in process:', "if False:", _PROCESS + "oom_score_adj",
    ),
    Mutant("a host name left out", "plan/uts.py", "plan.add(op, name, path=key)", "pass",
           _PROCESS + "hostname"),
    Mutant(
        "a sysctl left out", "plan/security.py",
        'plan.add(opcodes.SYSCTL, path, value, path=f"linux.sysctl.{key}")', "pass", _PROCESS + "sysctl",
    ),
    # The truth
    Mutant("a lying exit code", "process.py", "return wait_status >> 8 if", "return 0 if",
           "integration/test_run.py::test_exit_status"),
    Mutant("a signal told as a success", "process.py", "128 + (wait_status & 0x7F)", "0",
           "integration/test_run.py::test_a_signal_is_128_and_its_number"),
    Mutant("a newline in the pid file", "pid_file.py", "posix.write(fd, str(pid).encode())",
           'posix.write(fd, str(pid).encode() + b"\\n")', _LIFECYCLE + "pid_file"),
    Mutant(
        "a late config", "execute.py",
        "state.config()",
        'Spec(states.read_file(f"{state.record[\'bundle\']}/config.json"))',
        "integration/test_exec.py::test_later_edits_of_the_bundle_do_not_matter",
    ),
    Mutant(
        "a failing hook ignored", "hooks.py", "    if ended:\n", "    if False:\n",
        "integration/test_hooks.py::test_failure_before_start",
    ),
    Mutant(
        "a variable of ours in a hook", "hooks.py", "environment = {}", 'environment = {"LEAKED": "1"}',
        "integration/test_hooks.py::test_environment",
    ),
    Mutant("a paused container told as running", "lifecycle.py", 'return "paused"', 'return "running"',
           _LIFECYCLE + "pause_and_resume"),
    Mutant("a delete of what runs", "lifecycle.py", 'if status != "stopped" and not force:', "if False:",
           _LIFECYCLE + "delete_of_a_running_container"),
    Mutant(
        "an id that is a path", "state_directory.py",
        "not _ID_CHARACTERS.issuperset(id)", "False",
        _LIFECYCLE + "ids_that_are_no_names",
    ),
    # Nothing is left, and nobody else is hit
    Mutant("a cgroup left", "destroy.py", "return cgroup.remove()", "return None",
           _LIFECYCLE + "delete_removes_everything"),
    Mutant(
        "a failed create that is not undone", "destroy.py",
        "spec = destroy(state, spec)\n", "pass\n",
        _LIFECYCLE + "failed_create_leaves_nothing",
    ),
    Mutant(
        "a pid taken for ours", "process.py",
        "or (start_time and seen.start_time != start_time)", "",
        "security/test_concurrency.py::test_a_reused_pid_is_not_the_container",
    ),
    Mutant(
        "exec in the root of the host", "plan/exec.py", "if not rooted:", "if False:",
        "security/test_namespaces.py::test_exec_is_in_the_containers_root",
    ),
    Mutant("delete --force that waits for a hook", "hooks.py", "if timeout or init >= 0:", "if timeout:",
           "security/test_concurrency.py::test_delete_force_while_a_hook_does_not_end[createRuntime]"),
    Mutant(
        "a record of somebody else's obeyed", "state_directory.py",
        "    if not _is_ours(status):\n        state", "    if False:\n        state",
        "security/test_state.py::test_a_record_that_others_can_write_is_not_obeyed",
    ),
    Mutant(
        "SIGCHLD left ignored", "cli/main.py", "_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)", "pass",
        "security/test_leaks.py::test_a_caller_that_ignores_sigchld_learns_the_exit_status",
    ),
    Mutant(
        "an option of a bind mount dropped", "rules.py", " and option not in KNOWN:", " and False:",
        "security/test_configuration.py::test_an_option_that_a_bind_mount_would_ignore",
    ),
    Mutant(
        "a sysctl of the runtime's own namespace", "opening.py",
        "if request.written and _is_own(fd, request.nstype):", "if False:",
        "security/test_namespaces.py::test_a_parameter_of_a_namespace_that_is_the_runtimes_own",
    ),
    Mutant(
        "a limit that stops start", "plan/process.py", "if soft < least or hard < least:", "if False:",
        "security/test_surroundings.py::test_start_needs_nothing_of_the_containers_limits",
    ),
    Mutant(
        "names that drive the terminal", "cli/report.py", "if not text.isprintable():", "if False:",
        "security/test_configuration.py::test_an_error_does_not_drive_the_terminal",
    ),
    Mutant("an occupied cgroup", "creation.py", "self.cgroup.refuse_occupied()", "pass",
           "integration/test_cgroup.py::test_an_occupied_cgroup_is_refused_and_left_alone"),
    Mutant("a paused container that can't be killed", "lifecycle.py", "            cgroup_of(found).thaw()\n",
           "            pass\n", _LIFECYCLE + "kill_of_a_paused_container"),
    Mutant("a living container collected", "gc.py", 'or status_of(state) != "stopped"', "",
           "integration/test_gc.py::test_a_living_container_is_left_alone"),
    Mutant("a cgroup of another root collected", "gc.py", 'if owner.rpartition("/")[0] == root and', "if",
           "integration/test_gc.py::test_cgroups_of_another_state_root_are_left_alone"),
)  # fmt: skip
