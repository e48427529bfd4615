"""Fuzzes what Python reads of others: tests/fuzz/doors.py TARGET SECONDS [SEED]

configuration   config.json, through spec and the compiler of plans to the bytes of the plan
process         the process object of exec
state           the record in the state directory
message         what pyrunc-init says over the socket

Inputs are made from the kept corpus (tests/fuzz/corpus/) by changes of bytes and of JSON values. It is right
to accept, or to refuse with the exception that is there for it. Anything else is a finding, and is kept.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyrunc import accept
from pyrunc.errors import Error
from pyrunc.plan import Host
from pyrunc.plan.container import compile_container
from pyrunc.plan.exec import compile_exec
from pyrunc.protocol import Message
from pyrunc.record import checked
from pyrunc.spec import Object, Refused, Spec, parse_json

CORPUS = Path(__file__).parent / "corpus"
PIECES = [b"\0", b"\\u0000", b"\\ud800", b"[", b"{", b'"', b"\xff", b"NaN"]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 0.5, 1e300, "", "x", "/",
    "..", "a/../b",
    "\0", "\ud800", "/" * 5000, [], {}, [[]], [None], [""], {"": ""}, {"a": {"b": {}}}, "/proc/self/fd/3",
]  # fmt: skip


def configuration(text: bytes) -> None:
    spec = Spec(text)
    accept.config(spec)
    spec.bundle = "/bundle"
    plan = compile_container(spec, Host("id", "/bundle", "/bundle/rootfs"))
    plan.encode([3] * len(plan.fds), 4)


def process(text: bytes) -> None:
    wanted = Object(_object(text), "process")
    accept.process(wanted, text)
    plan = compile_exec(Spec(_SPEC), wanted, Host("id", "/bundle", "/bundle/rootfs"))
    plan.encode([3] * len(plan.fds), 4)


def state(text: bytes) -> None:
    checked(parse_json(text.decode()))


def message(data: bytes) -> None:
    if len(data) >= 24:  # receive() drops what is shorter
        Message(data, -1)


def _object(text: bytes) -> dict[str, Any]:
    value = parse_json(text.decode())
    if type(value) is not dict:
        raise Refused("process", "not an object")
    return value


TARGETS: dict[str, Callable[[bytes], None]] = {
    "configuration": configuration,
    "process": process,
    "state": state,
    "message": message,
}
_SPEC = (CORPUS / "configuration" / "usual.json").read_bytes()


def changed(random_: random.Random, data: bytes) -> bytes:
    """Another input made of this one."""
    if random_.random() < 0.7:
        try:
            value = json.loads(data)
            if not isinstance(value, dict | list):
                raise ValueError("nothing to change")
            for _ in range(random_.randint(1, 3)):
                _change_value(random_, value)
            return json.dumps(value, ensure_ascii=random_.random() < 0.5).encode(errors="surrogatepass")
        except (ValueError, RecursionError):
            pass
    piece = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(len(piece) + 1)
        match random_.randrange(4):
            case 0:
                piece[at : at + random_.randint(1, 16)] = b""
            case 1:
                piece[at:at] = random_.choice(
                    [b"\0", b"\\u0000", b"\\ud800", b"[", b"{", b'"', b"\xff", b"NaN"]
                )
            case 2:
                piece[at : at + 1] = bytes([random_.randrange(256)])
            case 3:
                piece[at:at] = piece[: random_.randrange(64)]
    return bytes(piece)


def _change_value(random_: random.Random, value: Any) -> None:
    """Somewhere in a JSON value: another value, one less, or one more of the same."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = random_.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and random_.random() < 0.8:
            value = inner
            continue
        match random_.randrange(4):
            case 0 if isinstance(value, dict):
                value[random_.choice(["", "path", "type", "\0", key + "x"])] = copy.deepcopy(inner)
            case 1:
                del value[key]
            case _:
                value[key] = copy.deepcopy(random_.choice(VALUES))
        return


def main(name: str, seconds: float, seed: int) -> int:
    target, random_ = TARGETS[name], random.Random(seed)
    corpus = [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]
    end, executions, accepted = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        data = random_.choice(corpus)
        for _ in range(random_.randrange(3)):
            data = changed(random_, data)
        executions += 1
        try:
            target(data)
            accepted += 1
        except (Refused, Error, UnicodeDecodeError):
            continue
        except BaseException as error:
            kept = Path("build/fuzz") / f"{name}-{executions}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            print(f"{name}: {type(error).__name__}: {error}; the input is {kept}", file=sys.stderr)
            raise
    print(f"{name}: {executions} executions, {accepted} accepted, seed {seed}")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns()))
