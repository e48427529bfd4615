"""plan/opcodes.py is what build.py makes of plan.h, and what protocol.py has of it is the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from pyrunc import protocol
from pyrunc.plan import opcodes

_KINDS = ("STAGE", "GO", "READY", "START", "EXEC", "FAILED", "WARNING", "PID", "LISTENER", "STEP")
ROOT = Path(__file__).resolve().parents[2]


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pyrunc_build", ROOT / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_opcodes_are_current() -> None:
    header = (ROOT / "pyrunc/_native/plan.h").read_text()
    assert (ROOT / "pyrunc/plan/opcodes.py").read_text() == load_build().opcodes(header), "run make opcodes"


def test_kinds_of_messages() -> None:
    generated = {name: value for name, value in vars(opcodes).items() if name.startswith("MSG_")}
    assert generated == {f"MSG_{name}": getattr(protocol, name) for name in _KINDS}


def test_architecture_names_every_step() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert [name for name in opcodes.NAMES.values() if f"`{name}`" not in text] == []


def test_numbers_signatures_and_constants() -> None:
    module: dict[str, object] = {}
    text = load_build().opcodes(
        "#define PLAN_MAGIC 0x10u /* a comment */\n"
        "#define PLAN_FLAG (1 << 3) // another\n"
        "#define PLAN_BOTH (PLAN_MAGIC | PLAN_FLAG)\n"
        "#define PLAN_MODE 0755\n"
        '#define PLAN_NAME "text"\n'
        "#define PLAN_STEPS \\\n"
        '    PLAN_STEP(MOUNT, "fsi") \\\n'
        '    PLAN_STEP(CHDIR, "s")\n'
    )
    exec(text, module)
    assert (module["MOUNT"], module["CHDIR"]) == (1, 2)
    assert module["SIGNATURES"] == {1: "fsi", 2: "s"}
    assert module["NAMES"] == {1: "MOUNT", 2: "CHDIR"}
    assert (module["MAGIC"], module["FLAG"], module["BOTH"]) == (16, 8, 24)
    assert module["MODE"] == 0o755
    assert "NAME" not in module
