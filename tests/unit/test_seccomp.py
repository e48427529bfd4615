"""Seccomp: what the compiled programs answer, and what the cache refuses."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrunc import _libseccomp, seccomp
from pyrunc.errors import Error
from pyrunc.vocabulary import seccomp as seccomp_words

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0

on_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")

Profile = dict[str, Any]


def run_bpf(program: bytes, nr: int, args: tuple[int, ...] = (), arch: int = X86_64) -> int:
    """What the kernel would answer: an interpreter of the few instructions of such filters."""
    padded = (*args, *(0,) * (6 - len(args)))
    data = struct.pack("=IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *padded)
    code = [struct.unpack("=HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
    accumulator = position = 0
    while True:
        op, jt, jf, k = code[position]
        position += 1
        if op == 0x20:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            position += k
        elif op == 0x06:
            return int(k)
        else:
            yes = {
                0x15: accumulator == k,
                0x25: accumulator > k,
                0x35: accumulator >= k,
                0x45: accumulator & k != 0,
            }[op]
            position += jt if yes else jf


def compiled(profile: Profile) -> seccomp.Filter:
    return _libseccomp.compile_profile(profile, seccomp.locate()[0])


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: object) -> Profile:
    return {"names": list(names), "action": action, **more}


def condition(index: int, op: str, value: int, two: int = 0) -> Profile:
    return {"index": index, "value": value, "valueTwo": two, "op": "SCMP_CMP_" + op}


def deny(*rules: Profile, **more: object) -> Profile:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **more}


@pytest.mark.spec("linux.seccomp.errnoRet")
@on_x86_64
def test_default_errno_is_eperm_and_can_be_chosen() -> None:
    assert run_bpf(compiled(deny(rule("read"))).bpf, 1) == ERRNO | errno.EPERM
    chosen = compiled(deny(rule("read"), defaultErrnoRet=38))
    assert run_bpf(chosen.bpf, 1) == ERRNO | 38
    assert run_bpf(chosen.bpf, 0) == ALLOW


@pytest.mark.spec("linux.seccomp")
@on_x86_64
@pytest.mark.parametrize(("name", "value"), sorted(seccomp_words.ACTIONS.items()))
def test_every_action(name: str, value: int) -> None:
    profile = deny(rule("getpid", action=name), listenerPath="/run/agent")
    if name in seccomp_words.WITH_VALUE:
        profile["syscalls"][0]["errnoRet"] = 7
        value |= 7
    result = compiled(profile)
    assert run_bpf(result.bpf, 39) == value
    assert result.notify == (name == "SCMP_ACT_NOTIFY")
    assert bool(result.flags & seccomp.NEW_LISTENER) == result.notify


@on_x86_64
@pytest.mark.parametrize(
    ("op", "yes", "no"),
    [
        ("NE", 6, 5),
        ("LT", 4, 5),
        ("LE", 5, 6),
        ("EQ", 5, 6),
        ("GE", 5, 4),
        ("GT", 6, 5),
    ],
)
def test_every_operator(op: str, yes: int, no: int) -> None:
    bpf = compiled(deny(rule("personality", args=[condition(0, op, 5)]))).bpf
    assert run_bpf(bpf, 135, (yes,)) == ALLOW
    assert run_bpf(bpf, 135, (no,)) == ERRNO | errno.EPERM


@on_x86_64
def test_masked_equal_has_the_mask_first() -> None:
    bpf = compiled(deny(rule("clone", args=[condition(0, "MASKED_EQ", 0x7E020000, 0)]))).bpf
    assert run_bpf(bpf, 56, (0x11,)) == ALLOW
    assert run_bpf(bpf, 56, (0x10000011,)) == ERRNO | errno.EPERM


@on_x86_64
def test_one_argument_twice_means_either() -> None:
    both = rule("personality", args=[condition(0, "EQ", 0), condition(0, "EQ", 8)])
    bpf = compiled(deny(both)).bpf
    assert [run_bpf(bpf, 135, (n,)) == ALLOW for n in (0, 8, 1)] == [True, True, False]
    different = rule("socket", args=[condition(0, "EQ", 1), condition(1, "EQ", 2)])
    bpf = compiled(deny(different)).bpf
    assert [run_bpf(bpf, 41, n) == ALLOW for n in ((1, 2), (1, 3), (4, 2))] == [True, False, False]


@on_x86_64
def test_newer_than_the_library_is_enosys() -> None:
    profile = deny(rule("read"), architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    bpf = compiled(profile).bpf
    for arch in (X86_64, I386):
        assert run_bpf(bpf, 1000, arch=arch) == ERRNO | errno.ENOSYS
    assert run_bpf(bpf, 0x40000000 | 1000) == ERRNO | errno.ENOSYS
    assert run_bpf(bpf, 0) == ALLOW
    assert run_bpf(bpf, 3, arch=I386) == ALLOW
    assert run_bpf(bpf, 0x40000000) == ALLOW
    assert run_bpf(bpf, 435) == ERRNO | errno.EPERM  # clone3: known, and not allowed
    assert run_bpf(bpf, 1000, arch=AARCH64) == KILL
    assert run_bpf(bpf, -1) != ERRNO | errno.ENOSYS
    only = compiled(deny(rule("read"))).bpf
    assert run_bpf(only, 0x40000000 | 1000) != ERRNO | errno.ENOSYS  # x32 is not in this filter


@on_x86_64
def test_permissive_default_stays_for_new_numbers() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("read", action="SCMP_ACT_LOG")]}
    assert run_bpf(compiled(profile).bpf, 1000) == ALLOW


@on_x86_64
def test_unknown_names_default_actions_and_repetitions_are_no_error() -> None:
    profile = deny(
        rule("no_such_call", "read"),
        rule("write", action="SCMP_ACT_ERRNO"),
        rule("read"),
        rule("read", args=None),
    )
    bpf = compiled(profile).bpf
    assert run_bpf(bpf, 0) == ALLOW
    assert run_bpf(bpf, 1) == ERRNO | errno.EPERM


@pytest.mark.spec("linux.seccomp.flags")
def test_flags() -> None:
    def flags(names: list[str] | None, action: str = "SCMP_ACT_ALLOW") -> int:
        return compiled(deny(rule("getpid", action=action), flags=names, listenerPath="/a")).flags

    name = "SECCOMP_FILTER_FLAG_"
    assert flags(None) == seccomp.SPEC_ALLOW
    assert flags([]) == 0
    assert flags([name + "LOG", name + "TSYNC"]) == seccomp.LOG | seccomp.TSYNC
    assert flags([name + "WAIT_KILLABLE_RECV"]) == 0
    waiting = flags([name + "WAIT_KILLABLE_RECV"], "SCMP_ACT_NOTIFY")
    assert waiting == seccomp.WAIT_KILLABLE_RECV | seccomp.NEW_LISTENER


@pytest.mark.spec("linux.seccomp.flags", "linux.seccomp.architectures")
@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ({}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "defaultErrnoRet"),
        (deny(defaultErrnoRet=5000), "defaultErrnoRet"),
        (deny(defaultErrnoRet=True), "defaultErrnoRet"),
        (deny(flags=["X"]), "flags[0]"),
        (deny(architectures=["SCMP_ARCH_VAX"]), "architectures[0]"),
        (deny(rule("read"), rule("read", action="X")), "syscalls[1].action"),
        (deny(rule("read", errnoRet=1)), "syscalls[0].errnoRet"),
        (deny(rule()), "syscalls[0].names"),
        (deny(rule("read", "write", action="SCMP_ACT_NOTIFY")), "syscalls[0].action"),
        (deny(rule("read", action="SCMP_ACT_NOTIFY")), "listenerPath"),
        (deny(listenerMetadata="x"), "listenerMetadata"),
        (deny(rule("read", args=[condition(0, "X", 0)])), "syscalls[0].args[0].op"),
        (deny(rule("read", args=[condition(6, "EQ", 0)])), "syscalls[0].args[0].index"),
        (deny(rule("read", args=[condition(0, "EQ", -1)])), "syscalls[0].args[0].value"),
    ],
)
def test_what_is_refused(profile: Profile, path: str) -> None:
    with pytest.raises(Error) as caught:
        compiled(profile)
    assert caught.value.path == "linux.seccomp." + path
    assert caught.value.step == "seccomp"


def test_missing_library_names_its_package() -> None:
    with pytest.raises(Error) as caught:
        _libseccomp.compile_profile(deny(), "/nonexistent/libseccomp.so.2")
    assert "libseccomp2" in caught.value.hint


def test_kernel_takes_the_filter() -> None:
    """Loaded in a child: one call refused with our errno, a new one with ENOSYS, others work."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule("getppid", action="SCMP_ACT_ERRNO", errnoRet=77)],
    }
    assert _in_child(compiled(profile).bpf, getppid=77, new=errno.ENOSYS) == 0
    every = [rule(name) for name in ("write", "exit_group", "prctl", "rt_sigreturn", "brk", "mmap")]
    assert _in_child(compiled(deny(*every)).bpf, getppid=errno.EPERM, new=errno.ENOSYS) == 0


def _in_child(bpf: bytes, getppid: int, new: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = {"x86_64": 110}.get(os.uname().machine, 173)
    buffer = ctypes.create_string_buffer(bpf, len(bpf))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(bpf) // 8, ctypes.addressof(buffer)))
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
            os._exit(2)
        refused = libc.syscall(number) == -1 and ctypes.get_errno() == getppid
        unknown = libc.syscall(1000) == -1 and ctypes.get_errno() == new
        status = 0 if refused and unknown else 3
    finally:
        os._exit(status)


# -- the cache


def entry(cache: Path) -> Path:
    (found,) = cache.iterdir()
    return found


def poisoned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count compilations."""
    calls: list[int] = []
    real = _libseccomp.compile_profile

    def counting(profile: Profile, library: str) -> seccomp.Filter:
        calls.append(1)
        return real(profile, library)

    monkeypatch.setattr(_libseccomp, "compile_profile", counting)
    return calls


def test_second_time_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = poisoned(monkeypatch)
    cache = tmp_path / "a" / "b"
    profile = deny(rule("getpid", action="SCMP_ACT_NOTIFY"), listenerPath="/agent")
    first = seccomp.load_or_compile(profile, str(cache))
    second = seccomp.load_or_compile(profile, str(cache))
    assert (first.bpf, first.flags, first.notify) == (second.bpf, second.flags, second.notify)
    assert len(calls) == 1
    assert cache.stat().st_mode & 0o7777 == 0o700
    assert entry(cache).stat().st_mode & 0o7777 == 0o600
    with pytest.raises(Error):
        seccomp.load_or_compile({**profile, "listenerPath": ""}, str(cache))


def _change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _other_name(path: Path) -> None:
    target = path.with_name("other")
    path.rename(target)
    path.symlink_to(target)


def _second_link(path: Path) -> None:
    os.link(path, path.with_name("other"))


def _as_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        _change_byte,
        _other_name,
        _second_link,
        _as_fifo,
        lambda path: path.chmod(0o644),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
        lambda path: path.parent.chmod(0o755),
    ],
)
def test_a_spoilt_entry_is_not_used(spoil: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = poisoned(monkeypatch)
    cache = tmp_path / "cache"
    good = seccomp.load_or_compile(deny(rule("read")), str(cache))
    spoil(entry(cache))
    assert seccomp.load_or_compile(deny(rule("read")), str(cache)).bpf == good.bpf
    assert len(calls) == 2


def test_an_entry_of_another_profile_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    seccomp.load_or_compile({"defaultAction": "SCMP_ACT_ALLOW"}, str(cache))
    permissive = entry(cache)
    strict = seccomp.load_or_compile(deny(rule("read")), str(cache))
    (other,) = set(cache.iterdir()) - {permissive}
    other.write_bytes(permissive.read_bytes())
    assert seccomp.load_or_compile(deny(rule("read")), str(cache)).bpf == strict.bpf


def test_a_cache_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to(real)
    assert seccomp.load_or_compile(deny(rule("read")), str(link)).bpf
    assert not list(real.iterdir())


def test_a_hit_imports_nothing_slow(tmp_path: Path) -> None:
    """The hot path may not import ctypes, os or json."""
    cache = str(tmp_path / "cache")
    seccomp.load_or_compile(deny(rule("read")), cache)
    here = str(Path(seccomp.__file__).parent.parent)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pyrunc import seccomp\n"
        f"seccomp.load_or_compile({deny(rule('read'))!r}, sys.argv[2])\n"
        "sys.exit(' '.join({'os', 'ctypes', 'json', 'hashlib'} & set(sys.modules)) or 0)"
    )
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", script, here, cache], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
