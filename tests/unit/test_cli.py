"""The command line: what both parsers accept, what verbs pass on, what errors look like."""

from __future__ import annotations

import json
import posix
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrunc import errors, process
from pyrunc.cli import default_spec, json_text, main, report, table, verbs
from pyrunc.cli import help as slow
from pyrunc.cli import parse as fast


class Calls(list[tuple[str, tuple[Any, ...], dict[str, Any]]]):
    """A record of calls to lifecycle, and what they give back or raise."""

    def __init__(self) -> None:
        super().__init__()
        self.result: Any = None


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Puts a recorder in place of lifecycle."""
    record = Calls()
    fake = types.ModuleType("pyrunc.lifecycle")

    def function(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            record.append((name, args, kwargs))
            if isinstance(record.result, BaseException):
                raise record.result
            return record.result

        return call

    for name in table.VERBS.keys() | {"exec_process", "containers", "processes"}:
        setattr(fake, name, function(name))
    signals = types.ModuleType("pyrunc.vocabulary.signals")
    signals.__dict__["parse_signal"] = {"SIGTERM": 15, "9": 9, "KILL": 9}.__getitem__
    import pyrunc

    monkeypatch.setitem(sys.modules, "pyrunc.lifecycle", fake)
    monkeypatch.setattr(pyrunc, "lifecycle", fake, raising=False)
    monkeypatch.setitem(sys.modules, "pyrunc.vocabulary.signals", signals)
    monkeypatch.setattr(report, "_log", report._Log())
    yield record


def run(line: str) -> int:
    """The exit status of a command line whose words hold no spaces."""
    return main.run(line.split())


# Parsers


@pytest.mark.parametrize(
    ("line", "verb", "args", "options"),
    [
        ("--root /r --log-format=json create --bundle /b c", "create", ["c"], {"bundle": "/b"}),
        ("--root /r create c -b=/b", "create", ["c"], {"bundle": "/b"}),
        ("run -no-subreaper -d c", "run", ["c"], {"no_subreaper": True, "detach": True}),
        ("kill --all c 9", "kill", ["c", "9"], {"all": True}),
        ("kill c 9 --all=false", "kill", ["c", "9"], {"all": False}),
        ("delete --force=true c", "delete", ["c"], {"force": True}),
        ("exec -e A=1 -e B=2 -g 7 c ls -l", "exec", ["c", "ls", "-l"], {"env": ["A=1", "B=2"]}),
        ("exec --preserve-fds 3 c -- -x", "exec", ["c", "--", "-x"], {"preserve_fds": 3}),
        ("ps --format json c", "ps", ["c"], {"format": "json"}),
        ("ps c -ef", "ps", ["c", "-ef"], {}),
        ("--version", "", [], {}),
    ],
)
def test_accepted(line: str, verb: str, args: list[str], options: dict[str, Any]) -> None:
    parsed = fast.parse(line.split())
    assert parsed is not None
    assert (parsed.verb, parsed.args) == (verb, args)
    assert parsed.options.items() >= options.items()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "nonsense",
        "create",
        "create a b",
        "create --bundle",
        "create --nope c",
        "create --preserve-fds x c",
        "create --preserve-fds -1 c",
        "delete --force=maybe c",
        "--log-format xml state c",
        "list x",
        "exec",
        "state --b c",
    ],
)
def test_left_to_the_slow_leaf(line: str) -> None:
    assert fast.parse(line.split()) is None


def _words(options: tuple[table.Option, ...]) -> st.SearchStrategy[list[str]]:
    """Command-line words that give some of the options, in all spellings, right and wrong."""
    value = st.sampled_from(["", "x", "1", "json", "true", "0", "-y", "--", "a=b", "07"])

    def spell(option: table.Option) -> st.SearchStrategy[list[str]]:
        names = [f"--{option.name}", f"-{option.name}"]
        if option.short:
            names.append(f"-{option.short}")
        name = st.sampled_from(names)
        joined = st.tuples(name, value).map(lambda pair: ["=".join(pair)])
        if option.kind == "flag":
            return st.one_of(name.map(lambda n: [n]), joined)
        return st.one_of(st.tuples(name, value).map(list), joined)

    return st.lists(st.one_of([spell(option) for option in options]), max_size=3).map(
        lambda lists: [word for words in lists for word in words]
    )


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    verb = table.VERBS[draw(st.sampled_from(sorted(table.VERBS)))]
    options = _words(verb.options) if verb.options else st.just([])
    positional = st.lists(st.sampled_from(["c", "d", "-", "--", "9"]), max_size=3)
    return [
        *draw(_words(table.GLOBALS)),
        verb.name,
        *draw(options),
        *draw(positional),
        *draw(options),
    ]


@settings(max_examples=200, deadline=None, database=None)
@given(argv=command_lines())
def test_what_the_fast_parser_accepts_click_accepts_alike(argv: list[str]) -> None:
    quick = fast.parse(argv)
    if quick is None:
        return
    explained = slow.parse(argv)
    assert isinstance(explained, fast.Parsed)
    assert explained.globals == quick.globals
    assert (explained.verb, explained.args) == (quick.verb, quick.args)
    assert explained.options == quick.options


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capfd.readouterr().out
    assert all(f"\n  {name} " in text for name in table.VERBS)
    for words in (["create", "--help"], ["help", "create"], ["create", "-h"]):
        assert main.run(words) == 0
        text = capfd.readouterr().out
        assert "Usage: pyrunc create [OPTIONS] ID" in text
        assert "--no-pivot " in text and "-off" not in text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nonsense", "No such command 'nonsense'."),
        ("nonsense --help", "No such command 'nonsense'."),
        ("create", "create takes ID, but 0 were given"),
        ("create --bundle", "flag needs an argument: --bundle"),
        ("create --bundel x c", "No such option"),
        ("help nonsense", "No such command"),
        ("delete --force=maybe c", "invalid boolean value"),
    ],
)
def test_usage_errors(line: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 1
    out, err = capfd.readouterr()
    assert err.startswith("Incorrect Usage: ") and text in err
    assert not out


# Verbs


@pytest.mark.parametrize(
    ("manager", "systemd", "none"),
    [("cgroupfs", False, False), ("systemd", True, False), ("disabled", False, True)],
)
def test_cgroup_manager(manager: str, systemd: bool, none: bool, calls: Calls) -> None:
    assert run(f"--root /r --cgroup-manager {manager} create c") == 0
    ((_, _, given),) = calls
    assert (given["systemd_cgroup"], given["no_cgroup"]) == (systemd, none)


def test_create(calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = "--root r/../s --systemd-cgroup create --pid-file p --no-new-keyring c"
    assert run(line) == 0
    assert calls == [
        (
            "create",
            (f"{tmp_path}/s", "c", str(tmp_path)),
            {
                "console_socket": "",
                "pidfd_socket": "",
                "pid_file": f"{tmp_path}/p",
                "no_pivot": False,
                "new_keyring": False,
                "preserve_fds": 0,
                "systemd_cgroup": True,
                "no_cgroup": False,
                "rootless": "auto",
            },
        )
    ]


def test_exit_status_of_run_and_exec(calls: Calls) -> None:
    calls.result = 137
    assert run("--root /r run c") == 137
    assert run("--root /r exec c sh -c true") == 137
    assert calls[1][2]["args"] == ["sh", "-c", "true"]
    assert calls[1][2]["process"] is None


def test_exec_reads_the_process(calls: Calls, tmp_path: Path) -> None:
    calls.result = 0
    (tmp_path / "p.json").write_text("{}")
    assert main.run(["--root", "/r", "exec", "--process", f"{tmp_path}/p.json", "c"]) == 0
    assert calls[0][2]["process"] == b"{}"


def test_exec_errors_are_255(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = errors.Error('exec: "x": executable file not found in $PATH')
    assert run("--root /r exec c x") == 255
    assert 'exec: "x": executable file not found in $PATH\n' in capfd.readouterr().err
    assert run("--root /r exec c") == 255


def test_kill_and_start(calls: Calls) -> None:
    assert run("--root /r kill c") == 0
    assert run("--root /r kill --all c 9") == 0
    assert run("--root /r start c d") == 0
    assert calls == [
        ("kill", ("/r", "c", 15), {"all_processes": False}),
        ("kill", ("/r", "c", 9), {"all_processes": True}),
        ("start", ("/r", "c"), {}),
        ("start", ("/r", "d"), {}),
    ]


def test_state(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = {"id": "c", "pid": 3, "annotations": {}, "x": [True, None, 1.5]}
    assert run("--root /r state c") == 0
    out = capfd.readouterr().out
    assert out == json.dumps(calls.result, indent=2) + "\n"


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a b", "\xe4", "a\n", "x" * 256])
def test_invalid_ids(id: str, calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--root", "/r", "state", id]) == 1
    assert "invalid container ID format" in capfd.readouterr().err
    assert not calls


def test_list(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = [{"id": "a", "pid": 1, "status": "running"}, {"id": "broken"}]
    assert run("--root /r list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert lines[2].split() == ["broken"]
    assert run("--root /r list --format=json") == 0
    assert json.loads(capfd.readouterr().out) == calls.result


def test_list_of_ids_reads_no_state(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    assert run(f"--root {tmp_path} list -q") == 0
    assert capfd.readouterr().out == "a\nb\n"


def test_ps(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = [1, 22]
    assert run("--root /r ps -f json c") == 0
    assert capfd.readouterr().out == "[1,22]\n"
    text = "UID PID CMD\nroot 1 a\nroot 2 22\nroot 22 b\n"
    assert verbs.filter_ps(text, [1, 22]) == "UID PID CMD\nroot 1 a\nroot 22 b\n"
    with pytest.raises(errors.Error, match="PID"):
        verbs.filter_ps("CMD\n", [1])


def test_spec(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run(["spec", "-b", str(tmp_path)]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    assert len(config["mounts"]) == 7
    assert main.run(["spec", "-b", str(tmp_path)]) == 1
    assert "File config.json exists. Remove it first" in capfd.readouterr().err


def test_rootless_spec() -> None:
    linux = default_spec.default_spec(rootless=True)["linux"]
    kinds = [namespace["type"] for namespace in linux["namespaces"]]
    assert "user" in kinds and "network" not in kinds
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": posix.geteuid(), "size": 1}]
    assert "resources" not in linux


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    out = capfd.readouterr().out
    assert re.fullmatch(r"pyrunc version \S+\ncommit: \S+\nspec: 1\.3\.0\n", out)


def test_state_root(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[bytes, bytes] = {}
    monkeypatch.setattr(posix, "environ", environment)
    monkeypatch.setattr(posix, "geteuid", lambda: 0)
    assert main.state_root("") == "/run/pyrunc"
    environment[b"XDG_RUNTIME_DIR"] = b"/run/user/1"
    monkeypatch.setattr(process, "in_user_namespace", lambda: True)
    assert main.state_root("") == "/run/user/1/pyrunc"
    monkeypatch.setattr(process, "in_user_namespace", lambda: False)
    assert main.state_root("") == "/run/pyrunc"
    monkeypatch.setattr(posix, "geteuid", lambda: 1000)
    assert main.state_root("") == "/run/user/1/pyrunc"
    environment.clear()
    with pytest.raises(errors.Error, match="no directory"):
        main.state_root("")
    with pytest.raises(errors.Error, match="--root"):
        main.state_root("/x/..")


# Errors


def test_text_of_an_error() -> None:
    error = errors.Error("mount /proc: refused by mount_setattr", errno=1, path="mounts[0]", hint="do this")
    assert report.render(error) == (
        "mount /proc: refused by mount_setattr [EPERM] (mounts[0])\nhint: do this"
    )
    fault = errors.Fault("process.cwd", "must be absolute", "start it with /", 4, 9)
    config = errors.ConfigError("config.json has 2 faults", [fault, errors.Fault("root", "gone")])
    assert report.render(config).splitlines() == [
        "config.json has 2 faults",
        "process.cwd:4:9 must be absolute",
        "  hint: start it with /",
        "root gone",
        "more: pyrunc explain config-invalid",
    ]


def test_json_log_is_one_object(calls: Calls, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = errors.NotFound("container does not exist", hint='see "list"')
    log = tmp_path / "log"
    line = f"--root /r --log {log} --log-format json start c"
    assert run(line) == 1
    record = json.loads(log.read_text())
    assert record.keys() == {"level", "msg", "time"}
    assert record["level"] == "error"
    assert record["msg"] == 'container does not exist\nhint: see "list"'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["time"])
    assert capfd.readouterr().err == 'pyrunc: container does not exist\nhint: see "list"\n'


def test_usage_errors_are_logged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run(f"--log {log} --log-format=json create") == 1
    assert json.loads(log.read_text())["msg"].startswith("Incorrect Usage: ")


@pytest.mark.parametrize("line", ["--root /r --log-format json state ..", "--log-format=json create"])
def test_json_without_a_file_is_on_standard_error(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 1
    assert json.loads(capfd.readouterr().err)["level"] == "error"


def test_log_as_text_and_warnings(calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    assert run(f"--root /r --log {log} start c") == 0
    report.warn("quiet")
    assert log.read_text() == ""
    monkeypatch.setattr(report, "_log", report._Log())  # As in a new process.
    assert run(f"--root /r --log {log} --debug start c") == 0
    report.warn("loud")
    assert re.fullmatch(r'time="[^"]+Z" level=warning msg="loud"\n', log.read_text())


def test_log_that_cannot_be_opened(calls: Calls, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(f"--root /r --log {tmp_path}/no/log start c") == 1
    assert "no such file or directory [ENOENT]" in capfd.readouterr().err
    assert not calls


def test_internal_errors(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    calls.result = KeyError("lost")
    assert run("--root /r start c") == 1
    err = capfd.readouterr().err
    assert err.startswith("pyrunc: internal error: KeyError: 'lost'\nhint: ")
    assert "--debug" in err
    assert run("--root /r --debug start c") == 1
    assert "Traceback" in capfd.readouterr().err


def test_write_of_a_lone_surrogate(capfd: pytest.CaptureFixture[str]) -> None:
    assert report.write(1, "\ud800")
    assert capfd.readouterr().out == "\\ud800"


def test_write_to_a_closed_pipe() -> None:
    reader, writer = posix.pipe()
    posix.close(reader)
    assert not report.write(writer, "x")
    posix.close(writer)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, database=None)
@given(value=_JSON, indent=st.sampled_from(["", "  "]))
def test_json_text(value: object, indent: str) -> None:
    assert json.loads(json_text.dump(value, indent)) == value


def test_json_text_of_a_name_that_is_not_utf8() -> None:
    assert json_text.quote("\udcff") == '"\\udcff"'
