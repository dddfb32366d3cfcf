"""Files of fitted models: whole or not at all, mapped, and refused with what to do."""

import errno
import json
import os
from datetime import datetime, timedelta

import numpy as np
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.snapshots import model_files
from recsys_dagster.snapshots.current import MANIFEST
from recsys_dagster.snapshots.model_files import (
    link_model,
    read_arrays,
    read_manifest,
    remove_models,
    write_model,
)
from recsys_dagster.snapshots.reader import ARRAYS

ABOUT = {"strategy": "ease"}
WEIGHTS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}


def put(home, fingerprint="f1", arrays=WEIGHTS):
    return write_model(home, fingerprint, arrays, ABOUT)


def names(home) -> set[str]:
    return {path.name for path in home.iterdir()} if home.exists() else set()


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", model_files.DTYPES.values())
    @pytest.mark.parametrize("shape", [(3,), (2, 3), (0,), (0, 4), ()], ids=str)
    def test_arrays_come_back_as_they_were(self, tmp_path, dtype, shape):
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        found = read_arrays(put(tmp_path, arrays={"some": array, "one": np.ones(1, np.uint8)}))
        assert set(found) == {"some", "one"}
        assert found["some"].dtype == dtype
        assert found["some"].shape == shape
        np.testing.assert_array_equal(found["some"], array)

    def test_arrays_of_several_types_do_not_disturb_each_other(self, tmp_path):
        arrays = {
            name: np.arange(odd, dtype=dtype)
            for odd, (name, dtype) in enumerate(model_files.DTYPES.items(), start=3)
        }
        found = read_arrays(put(tmp_path, arrays=arrays))
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)

    def test_a_view_in_another_order_is_kept_as_what_it_is(self, tmp_path):
        found = read_arrays(put(tmp_path, arrays={"weights": WEIGHTS["weights"].T}))
        np.testing.assert_array_equal(found["weights"], WEIGHTS["weights"].T)

    def test_arrays_are_mapped_and_cannot_be_written_to(self, tmp_path):
        found = read_arrays(put(tmp_path))["weights"]
        assert isinstance(found, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0] = 1

    def test_the_manifest_says_what_it_is_told_and_what_was_written(self, tmp_path):
        folder = put(tmp_path)
        found = read_manifest(folder)
        assert found["strategy"] == "ease"
        assert found["bytes"] == (folder / ARRAYS).stat().st_size
        assert len(found["sha256"]) == 64

    def test_the_same_fingerprint_is_replaced(self, tmp_path):
        put(tmp_path)
        folder = put(tmp_path, arrays={"weights": np.zeros(2, np.float32)})
        assert read_arrays(folder)["weights"].tolist() == [0, 0]
        assert names(tmp_path) == {"f1"}


class TestDamaged:
    @pytest.mark.parametrize("left", [0, 4, 20, -1], ids=["nothing", "length", "header", "byte"])
    def test_a_file_that_is_cut_off(self, tmp_path, left):
        file = put(tmp_path) / ARRAYS
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(UserError, match=rf"{ARRAYS}: this is no whole file.*recsys run fits"):
            read_arrays(file.parent)

    @pytest.mark.parametrize(
        "content",
        [
            b"PK\x03\x04 something else altogether",
            b"\xff" * 64,
            (2).to_bytes(8, "little") + b"[]",
            (4).to_bytes(8, "little") + b"null",
            (11).to_bytes(8, "little") + b'{"a": null}',
        ],
        ids=["zip", "ones", "list", "null", "nothing said"],
    )
    def test_a_file_that_is_none_of_safetensors(self, tmp_path, content):
        file = put(tmp_path) / ARRAYS
        file.write_bytes(content)
        with pytest.raises(UserError, match=rf"{ARRAYS}: this is no whole file.*recsys run fits"):
            read_arrays(file.parent)

    def test_a_number_format_that_is_not_read(self, tmp_path):
        folder = put(tmp_path, arrays={"weights": np.ones(2, np.int16)})
        with pytest.raises(UserError, match=r"no whole file of arrays \('I16'\).*recsys run fits"):
            read_arrays(folder)

    def test_a_missing_file(self, tmp_path):
        folder = put(tmp_path)
        (folder / ARRAYS).unlink()
        with pytest.raises(UserError, match=rf"{ARRAYS}: the file is missing: recsys run fits"):
            read_arrays(folder)

    def test_a_missing_model(self, tmp_path):
        with pytest.raises(UserError, match="f1: there is no model here: recsys run fits it again"):
            read_manifest(tmp_path / "f1")

    @pytest.mark.parametrize("content", ["{", "[]", "null", '"text"'])
    def test_a_manifest_that_is_none(self, tmp_path, content):
        folder = put(tmp_path)
        (folder / MANIFEST).write_text(content)
        with pytest.raises(UserError, match=rf"{MANIFEST}: this is no manifest.*recsys run fits"):
            read_manifest(folder)

    def test_another_format(self, tmp_path):
        folder = put(tmp_path)
        manifest = json.loads((folder / MANIFEST).read_text()) | {"format": 99}
        (folder / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=r"format 99, this version reads 1: recsys run fits"):
            read_manifest(folder)


class TestFailuresWhileWriting:
    @pytest.mark.parametrize("broken", ["fsync", "rename"])
    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), UserError),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ],
    )
    def test_nothing_half_written_is_there(self, tmp_path, monkeypatch, broken, error, raised):
        def fail(*_):
            raise error

        home = tmp_path / "shop"
        owner = os if broken == "fsync" else type(home)
        monkeypatch.setattr(owner, broken, fail)
        with pytest.raises(raised):
            put(home)
        assert names(home) == set()

    def test_what_was_there_before_is_there_still(self, tmp_path, monkeypatch):
        put(tmp_path)

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(type(tmp_path), "rename", fail)
        with pytest.raises(UserError, match="no space left on the disk"):
            put(tmp_path, arrays={"weights": np.zeros(2, np.float32)})
        assert names(tmp_path) == {"f1"}
        np.testing.assert_array_equal(read_arrays(tmp_path / "f1")["weights"], WEIGHTS["weights"])

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "shop").write_text("a file")
        with pytest.raises(UserError, match="shop: it could not be written"):
            put(tmp_path / "shop")

    def test_what_a_killed_writer_left_does_no_harm(self, tmp_path):
        left = tmp_path / f".f1-{os.getpid()}"
        left.mkdir()
        (left / ARRAYS).write_text("half")
        put(tmp_path)
        assert names(tmp_path) == {"f1"}


class TestLinks:
    def test_the_same_disk_keeps_the_arrays_once(self, tmp_path):
        folder = put(tmp_path)
        link_model(folder, tmp_path / "snapshot")
        assert (tmp_path / "snapshot" / ARRAYS).samefile(folder / ARRAYS)
        assert read_manifest(tmp_path / "snapshot") == read_manifest(folder)

    def test_another_disk_gets_a_copy(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        folder = put(tmp_path)
        link_model(folder, tmp_path / "snapshot")
        assert not (tmp_path / "snapshot" / ARRAYS).samefile(folder / ARRAYS)
        assert read_manifest(tmp_path / "snapshot") == read_manifest(folder)
        found = read_arrays(tmp_path / "snapshot")["weights"]
        np.testing.assert_array_equal(found, WEIGHTS["weights"])

    @pytest.mark.parametrize("replaced", [True, False])
    def test_a_snapshot_keeps_its_model_when_the_store_lets_go_of_it(self, tmp_path, replaced):
        folder = put(tmp_path / "models")
        link_model(folder, tmp_path / "snapshot")
        if replaced:
            put(tmp_path / "models", arrays={"weights": np.zeros(2, np.float32)})
        else:
            remove_models(tmp_path / "models", [], datetime.now() + timedelta(days=1))
        found = read_arrays(tmp_path / "snapshot")["weights"]
        np.testing.assert_array_equal(found, WEIGHTS["weights"])


class TestRemoving:
    def test_what_is_named_stays_and_so_does_what_is_new(self, tmp_path):
        for fingerprint in ("named", "old", "new"):
            put(tmp_path, fingerprint)
        (tmp_path / ".half-1").mkdir()
        day = datetime(2026, 1, 2)
        for name in ("named", "old", ".half-1"):
            before = (day - timedelta(days=1)).timestamp()
            os.utime(tmp_path / name, (before, before))
        assert remove_models(tmp_path, ["named", "gone"], day) == 2
        assert names(tmp_path) == {"named", "new"}

    def test_a_home_that_is_not_there_has_nothing_to_remove(self, tmp_path):
        assert remove_models(tmp_path / "shop", [], datetime(2026, 1, 1)) == 0
