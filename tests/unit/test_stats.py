"""Statistics of `events`: from the files of a cgroup to the JSON of runc."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyrunc.cgroup import stats, stats_v1, stats_v2
from pyrunc.cli import json_text
from pyrunc.cli.limits import from_options, size
from pyrunc.cli.table import VERBS
from pyrunc.cli.watching import duration
from pyrunc.errors import Usage


def directory(path: Path, **files: str) -> str:
    """A cgroup with these files; "_" stands for "." in a name up to the first double one."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return str(path)


def test_v1(tmp_path: Path) -> None:
    one = directory(
        tmp_path / "one",
        cpuacct__usage="30\n",
        cpuacct__usage_percpu="10 20 \n",
        cpuacct__usage_all="cpu user system\n0 4 6\n1 8 12\n",
        cpuacct__stat="user 3\nsystem 2\n",
        cpu__stat="nr_periods 5\nnr_throttled 1\nthrottled_time 7\n",
        cpuset__cpus="0-1,3\n",
        cpuset__mems="0\n",
        cpuset__sched_load_balance="1\n",
        cpuset__sched_relax_domain_level="-1\n",
        pids__current="2\n",
        pids__max="max\n",
        memory__stat="rss 4\ncache 5\n",
        memory__limit_in_bytes="100\n",
        memory__usage_in_bytes="9\n",
        memory__max_usage_in_bytes="10\n",
        memory__failcnt="3\n",
        blkio__throttle__io_service_bytes_recursive="8:0 Read 512\n8:0 Write 0\nTotal 512\n",
        hugetlb__2MB__usage_in_bytes="0\n",
        hugetlb__2MB__failcnt="1\n",
    )
    names = ("cpu", "cpuacct", "cpuset", "pids", "memory", "blkio", "hugetlb")
    found = stats_v1.read(dict.fromkeys(names, one))
    assert found["cpu"] == {
        "usage": {
            "total": 30,
            "percpu": [10, 20],
            "percpu_kernel": [6, 12],
            "percpu_user": [4, 8],
            "kernel": 20_000_000,
            "user": 30_000_000,
        },
        "throttling": {"periods": 5, "throttledPeriods": 1, "throttledTime": 7},
    }
    assert found["cpuset"]["cpus"] == [0, 1, 3]
    assert found["cpuset"]["sched_relax_domain_level"] == -1
    assert found["memory"]["usage"] == {"limit": 100, "usage": 9, "max": 10, "failcnt": 3}
    assert found["memory"]["raw"] == {"cache": 5, "rss": 4}
    assert found["pids"] == {"current": 2}
    rows = found["blkio"]["ioServiceBytesRecursive"]
    assert rows == [{"major": 8, "op": "Read", "value": 512}, {"major": 8, "op": "Write"}]
    assert found["hugetlb"] == {"2MB": {"failcnt": 1}}


def test_v2(tmp_path: Path) -> None:
    some = "some avg10=1.50 avg60=0.00 avg300=0.25 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    one = directory(
        tmp_path / "one",
        cpu__stat="usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 4\nthrottled_usec 5\n",
        cpu__pressure=some,
        memory__current="50\n",
        memory__max="max\n",
        memory__events="low 0\nmax 6\noom_kill 0\n",
        memory__stat="anon 1\nfile 2\n",
        memory__swap__current="5\n",
        memory__swap__max="70\n",
        pids__current="1\n",
        pids__max="9\n",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
        hugetlb__2MB__current="2\n",
        hugetlb__2MB__events="max 8\n",
    )
    found = stats_v2.read(one)
    assert found["cpu"]["usage"] == {"total": 3000, "kernel": 1000, "user": 2000}
    assert found["cpu"]["throttling"] == {"periods": 4, "throttledTime": 5000}
    assert json_text.dump(found["cpu"]["psi"]) == (
        '{"some":{"avg10":1.5,"avg60":0,"avg300":0.25,"total":9},'
        '"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}'
    )
    assert found["memory"]["usage"] == {"limit": 2**64 - 1, "usage": 50, "failcnt": 6}
    assert found["memory"]["swap"] == {"limit": 70, "usage": 55, "failcnt": 0}
    assert found["memory"]["cache"] == 2
    assert found["pids"] == {"current": 1, "limit": 9}
    assert found["blkio"]["ioServicedRecursive"][:2] == [
        {"major": 8, "op": "Read", "value": 3},
        {"major": 8, "op": "Write", "value": 4},
    ]
    assert found["hugetlb"] == {"2MB": {"usage": 2, "failcnt": 8}}


@pytest.mark.parametrize("read", [stats_v1.read, stats_v2.read])
def test_a_cgroup_without_files_counts_nothing(read: Any, tmp_path: Path) -> None:
    found = read({} if read is stats_v1.read else directory(tmp_path / "one"))
    assert found["cpu"]["usage"]["kernel"] == 0
    assert json.loads(json_text.dump(found)).keys() == stats.skeleton().keys()


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1m30s", 90), ("100ms", 0.1), ("1.5h", 5400), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "0s", "5 s", "-1s", "1s1", "1d"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(Usage):
        duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("-1", -1),
        ("0", 0),
        ("100", 100),
        ("1k", 1024),
        ("2M", 2 << 20),
        ("1GiB", 1 << 30),
        ("1.5gb", 3 << 29),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size("memory", text) == count


@pytest.mark.parametrize("text", ["", "-2", "1x", "M", "0x10", "1e3", "1 000"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(Usage, match="memory"):
        size("memory", text)


def test_every_option_of_update_has_its_place() -> None:
    """Each limit arrives under the spec's name."""
    options = {option.key: "1" for option in VERBS["update"].options if option.key != "resources"}
    assert from_options(options) == {
        "blockIO": {"weight": 1},
        "cpu": {
            "period": 1,
            "quota": 1,
            "burst": 1,
            "shares": 1,
            "realtimePeriod": 1,
            "realtimeRuntime": 1,
            "idle": 1,
            "cpus": "1",
            "mems": "1",
        },
        "pids": {"limit": 1},
        "memory": {"limit": 1, "reservation": 1, "swap": 1},
    }
