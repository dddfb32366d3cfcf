"""What the machine has."""

import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.resources import machine

GIB = 2**30


def test_available_memory_is_what_linux_says_else_the_free_pages(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    pages = {"SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": 10}
    monkeypatch.setattr(machine.os, "sysconf", pages.__getitem__)
    assert machine.available_bytes() == 40_960
    meminfo.write_text("MemTotal:       99 kB\nMemAvailable:    7 kB\n")
    assert machine.available_bytes() == 7 * 1024
    meminfo.unlink()

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(machine.os, "sysconf", unknown)
    assert machine.available_bytes() is None


@pytest.fixture
def of_16_gib(monkeypatch, tmp_path):
    """A machine without a container."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {12 * 2**20} kB\n")
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "memory.max")
    return tmp_path


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        ("", int(0.7 * 16 * GIB)),
        ("8GiB", 8 * GIB),
        ("8 gb", 8 * 10**9),
        ("1.5GiB", 3 * GIB // 2),
        ("50%", 8 * GIB),
        ("2147483648", 2 * GIB),
        ("64G", 64 * 10**9),
        ("2TiB", 2048 * GIB),
    ],
)
def test_the_limit_is_what_is_told_else_a_share_of_what_there_is(
    monkeypatch, of_16_gib, told, limit
):
    monkeypatch.setenv("RECSYS_MEMORY_LIMIT", told)
    assert machine.memory_limit() == limit


@pytest.mark.parametrize(
    "told", ["much", "8 TiB of it", "512MiB", "-1GiB", "1.2.3GiB", "0%", "9" * 400]
)
def test_a_limit_that_is_none_is_refused(monkeypatch, of_16_gib, told):
    monkeypatch.setenv("RECSYS_MEMORY_LIMIT", told)
    with pytest.raises(
        UserError, match=r"RECSYS_MEMORY_LIMIT is .* at least 1 GiB and at most 1 EiB"
    ):
        machine.memory_limit()


def test_in_a_container_there_is_what_it_may_take(monkeypatch, of_16_gib):
    monkeypatch.delenv("RECSYS_MEMORY_LIMIT", raising=False)
    (of_16_gib / "memory.max").write_text("max\n")
    assert machine.memory_limit() == int(0.7 * 16 * GIB)
    (of_16_gib / "memory.max").write_text(f"{4 * GIB}\n")
    assert machine.memory_limit() == int(0.7 * 4 * GIB)


def test_what_a_process_has_is_taken_off_its_limit(monkeypatch, of_16_gib):
    monkeypatch.setenv("RECSYS_MEMORY_LIMIT", "8GiB")
    status = of_16_gib / "status"
    status.write_text(f"VmRSS:\t {3 * 2**20} kB\n")
    monkeypatch.setattr(machine, "STATUS", status)
    assert machine.available_bytes() == 5 * GIB
    status.write_text(f"VmRSS:\t {9 * 2**20} kB\n")
    assert machine.available_bytes() == 0
