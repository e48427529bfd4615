"""The one table of global options, verbs, their options and arguments.

Both leaves of the command line are made from it: ``parse`` (fast, accepts) and ``help`` (click).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["flag", "value", "int", "list", "ints"]

TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Option:
    """One option.

    kind: "flag" (no argument), "value" (text), "int" (0 or more), "list" and "ints" (repeatable).
    choices: the only values allowed; empty for any.
    """

    __slots__ = ("name", "short", "kind", "metavar", "default", "help", "choices", "key")

    def __init__(
        self,
        name: str,
        short: str,
        kind: Kind,
        help: str,
        metavar: str = "",
        default: str | int | bool = "",
        choices: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.default = default
        self.choices = choices
        self.key = name.replace("-", "_")

    def initial(self) -> object:
        """The value when the option is not given; a new list each time."""
        if self.kind == "flag":
            return False
        if self.kind == "int":
            return self.default or 0
        if self.kind in ("list", "ints"):
            return []
        return self.default


class Verb:
    """One verb.

    arguments: what its help shows after the options.
    least, most: how many positional arguments it takes; most = -1 for no limit.
    mixed: options may also come after the first positional argument.
    """

    __slots__ = ("name", "help", "arguments", "least", "most", "mixed", "options")

    def __init__(
        self,
        name: str,
        help: str,
        arguments: str,
        least: int,
        most: int,
        options: tuple[Option, ...] = (),
        mixed: bool = True,
    ) -> None:
        self.name = name
        self.help = help
        self.arguments = arguments
        self.least = least
        self.most = most
        self.options = options
        self.mixed = mixed


GLOBALS = (
    Option("root", "", "value", "keep the state of containers in DIR", "DIR"),
    Option("log", "", "value", "append errors to FILE", "FILE"),
    Option("log-format", "", "value", "format of the log", "FORMAT", "text", ("text", "json")),
    Option("debug", "", "flag", "log warnings too; show tracebacks of internal errors"),
    Option("systemd-cgroup", "", "flag", "let systemd make the cgroups"),
    Option(
        "cgroup-manager",
        "",
        "value",
        "who makes the cgroups; disabled: containers stay in their caller's",
        "MANAGER",
        "",
        ("cgroupfs", "systemd", "disabled"),
    ),
    Option(
        "rootless",
        "",
        "value",
        "ignore missing permission for cgroups",
        "WHEN",
        "auto",
        ("auto", "true", "false"),
    ),
    Option("version", "v", "flag", "print the version"),
)

_BUNDLE = Option("bundle", "b", "value", "directory that holds config.json", "DIR", ".")
_CONSOLE = Option("console-socket", "", "value", "unix socket that receives the terminal's master", "PATH")
_PIDFD = Option("pidfd-socket", "", "value", "unix socket that receives a pidfd of the process", "PATH")
_PID_FILE = Option("pid-file", "", "value", "write the process id to FILE", "FILE")
_PRESERVE = Option("preserve-fds", "", "int", "pass on file descriptors 3 to 2+N", "N", 0)
_DETACH = Option("detach", "d", "flag", "do not wait for the process")
_FORMAT = Option("format", "f", "value", "output format", "FORMAT", "table", ("table", "json"))

_JSON = Option("json", "", "flag", "print JSON")

_TRACE = Option("trace", "", "value", "write a timeline of every step, for Perfetto", "FILE")

_CREATE = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    Option("no-pivot", "", "flag", "do not use pivot_root (for a rootfs on a ramdisk)"),
    Option("no-new-keyring", "", "flag", "keep the caller's session keyring"),
    _PRESERVE,
    Option("no-subreaper", "", "flag", "accepted for compatibility; pyrunc never is one"),
    _TRACE,
)

_CRIU = (
    Option("image-path", "", "value", "directory of the images", "DIR", "checkpoint"),
    Option("work-path", "", "value", "directory of criu's log; as a rule that of the images", "DIR"),
    Option("tcp-established", "", "flag", "with established TCP connections"),
    Option("ext-unix-sk", "", "flag", "with unix sockets that are connected to outside"),
    Option("shell-job", "", "flag", "with a terminal of the host's"),
    Option("lazy-pages", "", "flag", "move the memory when it is asked for"),
    Option("file-locks", "", "flag", "with file locks"),
    Option("link-remap", "", "flag", "with files that are open but have no name any more"),
    Option("auto-dedup", "", "flag", "free in the parent's images what is written again"),
    Option(
        "manage-cgroups-mode",
        "",
        "value",
        "what criu does with cgroups",
        "MODE",
        "",
        ("soft", "full", "strict", "ignore", "none", "props"),
    ),
    Option("empty-ns", "", "list", "leave out what is in a namespace", "NAMESPACE"),
    Option(
        "network-lock",
        "",
        "value",
        "how the network is held meanwhile",
        "METHOD",
        "",
        ("iptables", "nftables", "skip"),
    ),
)

_VERBS = (
    Verb("create", "create a container", "ID", 1, 1, _CREATE),
    Verb("start", "start the process of a created container", "ID...", 1, -1, (_TRACE,)),
    Verb("state", "print the state of a container as JSON", "ID", 1, 1),
    Verb(
        "kill",
        "send a signal to a container (default SIGTERM)",
        "ID [SIGNAL]",
        1,
        2,
        (Option("all", "a", "flag", "send it to all processes of the container"),),
    ),
    Verb(
        "delete",
        "delete a stopped container",
        "ID",
        1,
        1,
        (Option("force", "f", "flag", "kill it first; no error if it does not exist"),),
    ),
    Verb(
        "run",
        "create and start a container",
        "ID",
        1,
        1,
        (*_CREATE, _DETACH, Option("keep", "", "flag", "do not delete the container at its exit")),
    ),
    Verb(
        "exec",
        "run another process in a container",
        "ID [COMMAND [ARG...]]",
        1,
        -1,
        (
            Option("process", "p", "value", "read the process from a JSON file", "FILE"),
            _DETACH,
            Option("tty", "t", "flag", "give it a terminal"),
            Option("env", "e", "list", "set an environment variable", "NAME=VALUE"),
            Option("cwd", "", "value", "working directory", "DIR"),
            Option("user", "u", "value", "user and group", "UID[:GID]"),
            Option("additional-gids", "g", "ints", "add a group", "GID"),
            Option("cap", "c", "list", "add a capability", "CAP"),
            Option("no-new-privs", "", "flag", "never gain privileges"),
            Option("apparmor", "", "value", "AppArmor profile", "PROFILE"),
            Option("process-label", "", "value", "SELinux label", "LABEL"),
            _PID_FILE,
            _CONSOLE,
            _PIDFD,
            _PRESERVE,
            Option("cgroup", "", "list", "sub-cgroup to join", "[CONTROLLER[,...]:]PATH"),
            Option("ignore-paused", "", "flag", "also enter a paused container"),
            Option("no-subreaper", "", "flag", "accepted for compatibility"),
            _TRACE,
        ),
        mixed=False,
    ),
    Verb(
        "spec",
        "write a default config.json",
        "",
        0,
        0,
        (_BUNDLE, Option("rootless", "", "flag", "for a user without privileges")),
    ),
    Verb(
        "list",
        "list containers",
        "",
        0,
        0,
        (_FORMAT, Option("quiet", "q", "flag", "print ids only")),
    ),
    Verb("features", "print what pyrunc recognises, as JSON", "", 0, 0),
    Verb("validate", "say all that is wrong with a config.json", "[BUNDLE]", 0, 1, (_JSON,)),
    Verb(
        "plan",
        "show the steps that create and start would take",
        "[BUNDLE]",
        0,
        1,
        (_JSON, Option("no-pivot", "", "flag", "as with create --no-pivot")),
    ),
    Verb("doctor", "say what this host can do, and how to get what it can't", "", 0, 0, (_JSON,)),
    Verb(
        "update",
        "change the limits of a container",
        "ID",
        1,
        1,
        (
            Option(
                "resources",
                "r",
                "value",
                "read linux.resources from a JSON file; -: stdin",
                "FILE",
            ),
            Option("blkio-weight", "", "value", "weight of block I/O, 10 to 1000", "WEIGHT"),
            Option("cpu-period", "", "value", "period of the CPU quota", "MICROSECONDS"),
            Option("cpu-quota", "", "value", "CPU time in each period; -1 for no limit", "MICROSECONDS"),
            Option("cpu-burst", "", "value", "CPU time that may be saved up", "MICROSECONDS"),
            Option("cpu-share", "", "value", "CPU shares, 2 to 262144", "SHARES"),
            Option("cpu-rt-period", "", "value", "period of real-time scheduling", "MICROSECONDS"),
            Option("cpu-rt-runtime", "", "value", "real-time CPU time in each period", "MICROSECONDS"),
            Option("cpu-idle", "", "value", "1: run only when nothing else does", "0|1"),
            Option("cpuset-cpus", "", "value", "CPUs to use", "LIST"),
            Option("cpuset-mems", "", "value", "memory nodes to use", "LIST"),
            Option("memory", "", "value", "memory limit; -1 for none", "BYTES"),
            Option("memory-reservation", "", "value", "soft memory limit", "BYTES"),
            Option("memory-swap", "", "value", "limit of memory and swap together; -1 for none", "BYTES"),
            Option("kernel-memory", "", "value", "accepted for compatibility, without effect", "BYTES"),
            Option("kernel-memory-tcp", "", "value", "accepted for compatibility, without effect", "BYTES"),
            Option("pids-limit", "", "value", "limit of processes; -1 for none", "N"),
            Option("l3-cache-schema", "", "value", "resctrl: cache allocation", "SCHEMA"),
            Option("mem-bw-schema", "", "value", "resctrl: memory bandwidth", "SCHEMA"),
        ),
    ),
    Verb(
        "events",
        "print statistics and kills for want of memory, as JSON lines",
        "ID",
        1,
        1,
        (
            Option("interval", "", "value", "time between statistics", "DURATION", "5s"),
            Option("stats", "", "flag", "print statistics once"),
        ),
    ),
    Verb(
        "gc",
        "remove what is left of containers whose record or process is gone",
        "",
        0,
        0,
        (
            Option("dry-run", "n", "flag", "only say what would be removed"),
            Option("force", "f", "flag", "also kill processes whose container has no record any more"),
            _JSON,
        ),
    ),
    Verb(
        "checkpoint",
        "write a running container into images, by CRIU",
        "ID",
        1,
        1,
        (
            *_CRIU,
            Option("parent-path", "", "value", "images of the last pre-dump, from --image-path", "DIR"),
            Option("leave-running", "", "flag", "let the container go on"),
            Option("tcp-skip-in-flight", "", "flag", "leave out connections that are not established yet"),
            Option("status-fd", "", "int", "descriptor that hears when lazy pages can be asked for", "FD"),
            Option("page-server", "", "value", "send the memory to a page server", "ADDRESS:PORT"),
            Option("pre-dump", "", "flag", "write the memory only, and let the container go on"),
        ),
    ),
    Verb(
        "restore",
        "bring a container back from images of checkpoint",
        "ID",
        1,
        1,
        (
            _BUNDLE,
            *_CRIU,
            _DETACH,
            _PID_FILE,
            _CONSOLE,
            Option("no-pivot", "", "flag", "accepted for compatibility"),
            Option("no-subreaper", "", "flag", "accepted for compatibility"),
            Option("tcp-close", "", "flag", "restore TCP connections closed"),
            Option("lsm-profile", "", "value", "security label of the processes", "TYPE:NAME"),
            Option("lsm-mount-context", "", "value", "SELinux context of the mounts", "CONTEXT"),
        ),
    ),
    Verb("pause", "suspend all processes of a container", "ID", 1, 1),
    Verb("resume", "resume a paused container", "ID", 1, 1),
    Verb(
        "ps",
        "show the processes of a container",
        "ID [PS-OPTION...]",
        1,
        -1,
        (_FORMAT,),
        mixed=False,
    ),
    Verb(
        "explain",
        "explain an error by its code; without a code, list them",
        "[CODE]",
        0,
        1,
        (Option("json", "", "flag", "print JSON"),),
    ),
    Verb("snapshot", "write the snapshot that lets pyrunc start fast", "", 0, 0),
)

VERBS = {verb.name: verb for verb in _VERBS}


def names(options: tuple[Option, ...]) -> dict[str, Option]:
    """Long and short names, without dashes, to their option."""
    found = {option.name: option for option in options}
    for option in options:
        if option.short:
            found[option.short] = option
    return found
