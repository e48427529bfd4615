"""Containers' lives under podman and docker, which share a command line."""

from __future__ import annotations

import time

from ..engine import Engine, ok
from ..images import IMAGE
from . import check

BOTH = "podman docker"
LOOP = "while :; do sleep 0.1; done"


@check("run", BOTH)
def run(engine: Engine) -> None:
    done = engine.run("--rm", IMAGE, "sh", "-c", "echo hello; echo oops >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "oops\n", 7), done


@check("run -i", BOTH)
def run_stdin(engine: Engine) -> None:
    done = engine.run("-i", "--rm", IMAGE, "cat", stdin="through\n")
    assert done.stdout == "through\n", done.stderr


@check("run -it", BOTH)
def run_tty(engine: Engine) -> None:
    done = engine.tty(
        "run", *engine.options(()), "-it", "--rm", IMAGE, "sh", "-c", "sleep 0.5; tty; stty size; exit 4"
    )
    assert (done.stdout, done.returncode) == ("/dev/pts/0\n33 111\n", 4), done


@check("run -it: input", BOTH)
def run_tty_input(engine: Engine) -> None:
    script = "read line; echo got $line"
    options = ["run", *engine.options(()), "-it", "--rm"]
    done = engine.tty(*options, IMAGE, "sh", "-c", script, stdin="typed\n")
    assert "got typed" in done.stdout and done.returncode == 0, done.stdout


@check("run -it: another size", BOTH)
def run_tty_resized(engine: Engine) -> None:
    script = "echo up; until stty size | grep '40 123'; do sleep 0.1; done"
    options = ["run", *engine.options(()), "-it", "--rm", IMAGE, "sh", "-c", script]
    done = engine.sandbox.on_terminal(*engine.program, *options, resize=("up", (40, 123)))
    assert "\n40 123\n" in done.stdout and done.returncode == 0, done.stdout


@check("run: exit codes 125 to 127", BOTH)
def run_codes(engine: Engine) -> None:
    for command, code in ("nosuchcommand", 127), ("/no/such", 127), ("/etc/passwd", 126):
        done = engine.run("--rm", IMAGE, command)
        assert done.returncode == code, f"{command}: {done.returncode}, not {code}: {done.stderr}"


@check("run: a signal's exit code", BOTH)
def run_signal(engine: Engine) -> None:
    done = engine.run("--rm", IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    assert done.returncode == 137, done.stderr


@check("create, start, wait", BOTH)
def create_start(engine: Engine) -> None:
    name = engine.new_name()
    ok(engine("create", "--name", name, *engine.options(()), IMAGE, "sh", "-c", "exit 5"))
    ok(engine("start", name))
    assert ok(engine("wait", name)) == "5\n"
    ok(engine("rm", name))


@check("start -a", BOTH)
def start_attached(engine: Engine) -> None:
    name = engine.new_name()
    ok(engine("create", "--name", name, *engine.options(()), IMAGE, "sh", "-c", "echo out; exit 3"))
    done = engine("start", "-a", name)
    assert (done.stdout, done.returncode) == ("out\n", 3), done.stderr
    ok(engine("rm", name))


@check("exec", BOTH)
def exec_(engine: Engine) -> None:
    with engine.container() as name:
        done = engine("exec", "-e", "A=b", name, "sh", "-c", "echo $A; echo oops >&2; exit 3")
        assert (done.stdout, done.stderr, done.returncode) == ("b\n", "oops\n", 3), done
        assert engine("exec", "-i", name, "cat", stdin="in\n").stdout == "in\n"


@check("exec -it", BOTH)
def exec_tty(engine: Engine) -> None:
    with engine.container() as name:
        done = engine.tty("exec", "-it", name, "sh", "-c", "tty; exit 3")
        assert (done.stdout, done.returncode) == ("/dev/pts/0\n", 3), done


@check("exec -u -w", BOTH)
def exec_user(engine: Engine) -> None:
    with engine.container() as name:
        done = engine("exec", "-u", "guest", "-w", "/tmp", name, "sh", "-c", "id -u; id -G; pwd")
        assert done.stdout == "1000\n1000 2000\n/tmp\n", done.stderr


@check("exec -d", BOTH)
def exec_detached(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("exec", "-d", name, "touch", "/tmp/made"))
        time.sleep(0.3)
        ok(engine("exec", name, "test", "-e", "/tmp/made"))


@check("exec --privileged", BOTH)
def exec_privileged(engine: Engine) -> None:
    with engine.container() as name:
        caps = ok(engine("exec", "--privileged", name, "grep", "CapEff", "/proc/self/status"))
        assert int(caps.split()[1], 16) >> 21 & 1, caps  # CAP_SYS_ADMIN


@check("exec: exit codes 126, 127", BOTH)
def exec_codes(engine: Engine) -> None:
    with engine.container() as name:
        for command, code in ("nosuchcommand", 127), ("/no/such", 127), ("/etc/passwd", 126):
            done = engine("exec", name, command)
            # docker 20.10 says 126 whatever it was
            assert done.returncode in (code, 126), f"{command}: {done.returncode}: {done.stderr}"
        done = engine("exec", "-w", "/no/such", name, "pwd")
        assert done.returncode in (127, 126), f"-w /no/such: {done.returncode}: {done.stderr}"


@check("stop", BOTH)
def stop(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", f"trap 'exit 5' TERM; {LOOP}")) as name:
        time.sleep(0.2)
        ok(engine("stop", name))
        assert engine.status(name) == "exited 5"
        ok(engine("rm", name))


@check("stop: kill after the timeout", BOTH)
def stop_timeout(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("stop", "-t", "1", name))
        assert engine.status(name) == "exited 137"


@check("kill", BOTH)
def kill(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", f"trap 'exit 6' USR1; {LOOP}")) as name:
        time.sleep(0.2)
        ok(engine("kill", "-s", "USR1", name))
        assert ok(engine("wait", name)) == "6\n"


@check("pause, unpause", BOTH)
def pause(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("pause", name))
        assert engine.status(name) == "paused 0"
        ok(engine("unpause", name))
        assert engine.status(name) == "running 0"


@check("rm -f", BOTH)
def rm_force(engine: Engine) -> None:
    with engine.container() as name:
        identity = engine.inspect(name, ".Id")
        ok(engine("rm", "-f", *engine.at_once, name))
        assert not [cgroup for cgroup in engine.sandbox.cgroups() if identity in cgroup]
        assert engine("inspect", name).returncode != 0


@check("rm -f of a paused one", BOTH)
def rm_paused(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("pause", name))
        ok(engine("rm", "-f", *engine.at_once, name))


@check("restart", BOTH)
def restart(engine: Engine) -> None:
    with engine.container() as name:
        before = engine.inspect(name, ".State.Pid")
        ok(engine("restart", "-t", "0", name))
        assert engine.status(name) == "running 0"
        assert engine.inspect(name, ".State.Pid") != before


@check("--restart on-failure", BOTH, slow=True)
def restart_policy(engine: Engine) -> None:
    with engine.container(
        "--restart", "on-failure:2", command=("sh", "-c", "echo x >>/tmp/n; exit 1")
    ) as name:
        engine.until("exited 1", name)
        end = time.monotonic() + 10
        while engine.inspect(name, ".RestartCount") != "2":
            assert time.monotonic() < end, "not started twice again"
            time.sleep(0.2)


@check("logs", BOTH)
def logs(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", "echo one; echo two >&2")) as name:
        engine.until("exited 0", name)
        done = engine("logs", name)
        assert (done.stdout, done.stderr) == ("one\n", "two\n"), done


@check("attach", BOTH)
def attach(engine: Engine) -> None:
    script = "read line; sleep 0.5; echo got $line"
    with engine.container("-i", command=("sh", "-c", script)) as name:
        words = " ".join([*engine.program, "attach", name])
        done = engine.sandbox.run("sh", "-c", f"(echo word; sleep 1) | {words}")
        assert done.stdout.strip() == "got word", done


@check("top", BOTH)
def top(engine: Engine) -> None:
    with engine.container() as name:
        assert "sleep 1000" in ok(engine("top", name))


@check("stats", BOTH)
def stats(engine: Engine) -> None:
    with engine.container("--memory", "64m") as name:
        line = ok(engine("stats", "--no-stream", "--format", "{{.MemUsage}}", name))
        used, limit = line.strip().split(" / ")
        assert used[0] != "0" and limit[:2] in ("64", "67"), line


@check("cp", BOTH)
def cp(engine: Engine) -> None:
    source, back = engine.work / "cp-source", engine.work / "cp-back"
    source.write_text("copied\n")
    with engine.container() as name:
        ok(engine("cp", str(source), f"{name}:/tmp/there"))
        assert ok(engine("exec", name, "cat", "/tmp/there")) == "copied\n"
        ok(engine("cp", f"{name}:/tmp/there", str(back)))
    assert back.read_text() == "copied\n"


@check("diff, commit", BOTH)
def commit(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("exec", name, "touch", "/made"))
        assert "A /made" in ok(engine("diff", name))
        ok(engine("commit", name, "localhost/committed"))
    ok(engine.run("--rm", "localhost/committed", "test", "-e", "/made"))


@check("update", BOTH)
def update(engine: Engine) -> None:
    with engine.container("--memory", "64m", "--cpus", "0.5") as name:
        if engine.name == "docker":
            ok(engine("update", "--memory", "128m", "--memory-swap", "256m", "--cpu-shares", "256", name))
        else:
            ok(engine("container", "update", "--memory", "128m", "--cpu-shares", "256", name))
        pid = engine.inspect(name, ".State.Pid")
        paths = dict(
            line.rstrip().split(":")[1:]
            for line in ok(engine.sandbox.run("cat", f"/proc/{pid}/cgroup")).splitlines()
        )
        memory = f"/sys/fs/cgroup/memory{paths.get('memory')}/memory.limit_in_bytes"
        if "memory" in paths:
            assert ok(engine.sandbox.run("cat", memory)) == f"{128 << 20}\n"
        ok(engine("exec", name, "sh", "-c", "echo >/dev/null"))  # the devices are still allowed


@check("healthcheck", BOTH)
def healthcheck(engine: Engine) -> None:
    with engine.container("--health-cmd", "test -e /tmp/well", "--health-interval", "1s") as name:
        ok(engine("exec", name, "touch", "/tmp/well"))
        if engine.name == "podman":
            ok(engine("healthcheck", "run", name))
            ok(engine("exec", name, "rm", "/tmp/well"))
            assert engine("healthcheck", "run", name).returncode == 1
            return
        end = time.monotonic() + 10
        while engine.inspect(name, ".State.Health.Status") != "healthy":
            assert time.monotonic() < end, engine.inspect(name, "json .State.Health")
            time.sleep(0.2)


@check("--init", BOTH)
def init(engine: Engine) -> None:
    command = engine.output("--init", IMAGE, "sh", "-c", "cat /proc/1/comm; echo $$")
    first, pid = command.split()
    assert first != "sh" and pid != "1", command


@check("--pid-file of a detached run", "podman")
def pid_file(engine: Engine) -> None:
    file = engine.work / "pid"
    with engine.container("--pidfile", str(file)) as name:
        assert file.read_text().strip() == engine.inspect(name, ".State.Pid")


@check("--preserve-fds", "podman")
def preserve_fds(engine: Engine) -> None:
    words = " ".join([*engine.program, "run", *engine.options(()), "--rm", "--preserve-fds", "1", IMAGE])
    done = engine.sandbox.run("sh", "-c", f"{words} cat /proc/self/fd/3 3<{engine.work}/storage.conf")
    assert "[storage]" in ok(done)


@check("the program's signals, mask and descriptors are clean", BOTH)
def clean(engine: Engine) -> None:
    text = engine.output(IMAGE, "sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd")
    words = text.split()
    assert [int(words[1], 16), int(words[3], 16)] == [0, 0], text
    assert [int(word) for word in words[4:]] == [0, 1, 2, 3], text  # 3 is ls's own
