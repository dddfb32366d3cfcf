"""What the machine has."""

from recsys_dagster.resources import machine


def test_available_memory_is_what_linux_says_else_the_free_pages(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
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
