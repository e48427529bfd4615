"""The JSON Schema, the checks that create makes, and the compiler: they accept the same configurations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import configurations
import pytest
from configurations import EVERYTHING, SCHEMA, everything, leaves, replaced, resolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.test_opcodes import load_build

from pyrunc import accept, validate
from pyrunc.configuration import read_config
from pyrunc.errors import ConfigError
from pyrunc.json_places import path_text
from pyrunc.plan import Host
from pyrunc.plan.container import compile_container
from pyrunc.schema import formats, shapes
from pyrunc.seccomp import Filter
from pyrunc.spec import Object, Refused, Spec, drop_null

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def accepted(document: Any) -> bool:
    """What create says before it makes anything: the checks, then the compiler."""
    try:
        spec = Spec(json.dumps(document).encode())
        accept.config(spec)
    except Refused:
        return False
    spec.bundle = "/bundle"
    host = Host("id", "/bundle", "/bundle/rootfs")
    host.seccomp = Filter(b"", 0, False) if "seccomp" in spec.linux else None
    compile_container(spec, host)  # what was accepted can be compiled
    return True


def faults(document: Any) -> list[str]:
    found = validate.faults(json.dumps(document).encode())
    # Which controllers there are is a matter of the host.
    return [fault.path for fault in found if "no cgroup controller" not in fault.message]


def test_shapes_are_current() -> None:
    current: dict[str, Any] = {}
    exec(load_build().shapes(SCHEMA), current)
    assert current["CONFIG"] == shapes.CONFIG, "run make shapes"
    assert current["PROCESS"] == shapes.PROCESS
    assert current["RESOURCES"] == shapes.RESOURCES


def test_everything_has_every_property() -> None:
    def plain(where: configurations.Where) -> str:
        return path_text(where)

    known = set(configurations.paths(SCHEMA))
    there = {re.sub(r"\[\d+\]", "[]", plain(where)) for where in leaves(SCHEMA, EVERYTHING)}
    named = {"annotations", "linux.netDevices", "linux.sysctl"}
    assert {path for path in known - there if "*" not in path} == set()
    assert named <= there


def test_everything_is_accepted() -> None:
    assert faults(EVERYTHING) == []
    assert accepted(EVERYTHING)


def wrong(value: Any) -> Any:
    """A value of another type."""
    return {"not": "a string"} if isinstance(value, str) else "wrong"


def at(document: Any, where: configurations.Where) -> Any:
    for step in where:
        document = document[step]
    return document


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle")
    (path / "rootfs").mkdir()
    return path


MUTANTS = list(dict.fromkeys(leaves(SCHEMA, EVERYTHING)))


@pytest.mark.parametrize("where", MUTANTS, ids=path_text)
def test_create_refuses_a_value_of_the_wrong_type_with_its_path(
    where: configurations.Where, bundle: Path
) -> None:
    mutant = replaced(EVERYTHING, where, wrong(at(EVERYTHING, where)))
    (bundle / "config.json").write_text(json.dumps(mutant))
    with pytest.raises(ConfigError) as refused:
        read_config(str(bundle))  # the first thing that create does
    assert path_text(where) in [fault.path for fault in refused.value.faults]


def required(node: Any, value: Any, where: configurations.Where = ()) -> list[configurations.Where]:
    node = resolve(node)
    found: list[configurations.Where] = [(*where, name) for name in node.get("required", ())]
    if isinstance(value, dict):
        for name, item in value.items():
            inner = node.get("properties", {}).get(name) or node.get("additionalProperties")
            found += required(inner, item, (*where, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += required(node["items"], item, (*where, index))
    return found


@pytest.mark.parametrize("where", required(SCHEMA, EVERYTHING), ids=path_text)
def test_what_is_required_is_missed(where: configurations.Where) -> None:
    mutant = everything()
    at(mutant, where[:-1])[where[-1]] = None  # null is the same as absent
    assert path_text(where) in faults(mutant)
    del at(mutant, where[:-1])[where[-1]]
    assert not accepted(mutant)


NAMED = [name for name, part in SCHEMA["$defs"].items() if part.get("type") == "string"]


@pytest.mark.parametrize("name", NAMED)
@QUICK
@given(st.data())
def test_a_named_string_type_is_the_pattern_of_its_name(name: str, data: st.DataObject) -> None:
    part = SCHEMA["$defs"][name]
    pattern = part.get("pattern", "")
    near = st.from_regex(pattern) if pattern else st.text()
    alphabet = st.sampled_from("01239.-+,/ \nrwmMBKG:abZ٣")
    text = data.draw(near | st.text(alphabet, max_size=20))
    fits = re.search(pattern, text) is not None
    fits = fits and part.get("minLength", 0) <= len(text) <= part.get("maxLength", len(text))
    assert getattr(formats, name)(text) == fits


def values(node: Any) -> st.SearchStrategy[Any]:
    """Values of a part of the schema: mostly right, at the edges of ranges, some of them wrong."""
    node = resolve(node)
    if "enum" in node:
        right: st.SearchStrategy[Any] = st.sampled_from(node["enum"])
    elif node["type"] == "integer":
        low, high = node["minimum"], node["maximum"]
        right = st.sampled_from([low, low + 1, high, low - 1, high + 1])
    elif node["type"] == "boolean":
        right = st.booleans()
    elif node["type"] == "string":
        right = st.sampled_from(["", "/a", "a", "1", "MB:1", "2MB", "1.3.0", "r", "a\n", "a\0", "\ud800"])
    elif node["type"] == "array":
        right = st.lists(values(node["items"]), max_size=2)
    else:
        more = node.get("additionalProperties")
        properties = {name: values(inner) for name, inner in node.get("properties", {}).items()}
        right = st.fixed_dictionaries({}, optional=properties)
        if more:
            names = st.sampled_from(["net.x", "kernel.sem", "eth0", "", "a/b", "memory.max", "x.y.z"])
            right = st.dictionaries(names, values(more), max_size=2)
    return st.one_of(right, right, right, st.sampled_from([None, 1.0, True, {}, [], "x", 1]))


PLACES = [where for where in MUTANTS if len(where) <= 4]


@QUICK
@given(st.data())
def test_schema_and_create_agree(data: st.DataObject) -> None:
    document = EVERYTHING
    for where in data.draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=2)):
        node = part_of_schema(where)
        try:
            document = replaced(document, where, data.draw(values(node)))
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the first replacement took the place away
    assert accepted(document) == (faults(document) == [])


@QUICK
@given(st.sets(st.sampled_from(MUTANTS), min_size=1, max_size=12))
def test_schema_and_create_agree_on_what_is_left_out(left_out: set[configurations.Where]) -> None:
    document = everything()
    for where in sorted(left_out, key=str, reverse=True):
        try:
            del at(document, where[:-1])[where[-1]]
        except (KeyError, IndexError):
            continue
    assert accepted(document) == (faults(document) == [])


@QUICK
@given(st.data())
def test_a_process_alone_is_judged_alike(data: st.DataObject) -> None:
    document = EVERYTHING["process"]
    where = data.draw(st.sampled_from([where[1:] for where in PLACES if where[0] == "process" and where[1:]]))
    document = replaced(document, where, data.draw(values(part_of_schema(("process", *where)))))
    source = json.dumps(document).encode()
    process = json.loads(source)
    drop_null(process)
    try:
        accept.process(Object(process, "process"), source)
    except Refused:
        assert validate.process_faults(source)
    else:
        assert not validate.process_faults(source)


RESOURCES = [where[2:] for where in MUTANTS if where[:2] == ("linux", "resources") and where[2:]]


@QUICK
@given(st.data())
def test_resources_alone_are_judged_alike(data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(RESOURCES))
    value = data.draw(values(part_of_schema(("linux", "resources", *where))))
    resources = replaced(EVERYTHING["linux"]["resources"], where, value)
    found = faults(replaced(EVERYTHING, ("linux", "resources"), resources))
    source = json.dumps(resources).encode()
    resources = json.loads(source)
    drop_null(resources)
    try:
        accept.resources(Object(resources, "linux.resources"), source)
    except Refused:
        assert found and validate.resources_faults(source)
    else:
        assert not found and not validate.resources_faults(source)


def part_of_schema(where: configurations.Where) -> Any:
    node: Any = SCHEMA
    for step in where:
        node = resolve(node)
        if isinstance(step, int):
            node = node["items"]
        else:
            node = node.get("properties", {}).get(step) or node["additionalProperties"]
    return resolve(node)


def test_names_are_those_of_the_vocabulary() -> None:
    from pyrunc.vocabulary import scheduling, seccomp
    from pyrunc.vocabulary.namespaces import NAMESPACES
    from pyrunc.vocabulary.rlimits import RLIMITS

    for path, table in (
        (("process", "rlimits", 0, "type"), RLIMITS),
        (("process", "scheduler", "policy"), scheduling.POLICIES),
        (("process", "scheduler", "flags", 0), scheduling.SCHEDULER_FLAGS),
        (("process", "ioPriority", "class"), scheduling.IO_CLASSES),
        (("linux", "memoryPolicy", "mode"), scheduling.MEMORY_MODES),
        (("linux", "memoryPolicy", "flags", 0), scheduling.MEMORY_FLAGS),
        (("linux", "namespaces", 0, "type"), NAMESPACES),
        (("linux", "personality", "domain"), scheduling.DOMAINS),
        (("linux", "seccomp", "defaultAction"), seccomp.ACTIONS),
        (("linux", "seccomp", "architectures", 0), seccomp.ARCHITECTURES),
        (("linux", "seccomp", "flags", 0), seccomp.FLAGS),
        (("linux", "seccomp", "syscalls", 0, "args", 0, "op"), seccomp.OPERATORS),
    ):
        assert set(part_of_schema(path)["enum"]) == set(table), path
