"""Digests of weights that are remembered, and a changed file that is always seen."""

import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from valuestrata import provenance, weight_digests
from valuestrata.inference import model_files
from valuestrata.records import content_digest
from valuestrata.study.models import TransformersModel

BEFORE, AFTER = b"a" * 64, b"b" * 64


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are read whole; digests of small files are remembered, at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_digests, "LARGE", 10)
    monkeypatch.setattr(weight_digests, "SETTLED", -60.0)
    files: list[Path] = []

    def reading(path: Path) -> str:
        files.append(path)
        return provenance.file_digest(path)

    monkeypatch.setattr(weight_digests, "file_digest", reading)
    return files


def weights(tmp_path: Path, content: bytes = BEFORE, name: str = "model.safetensors") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_weights_are_read_once_by_whoever_asks(tmp_path: Path, reads: list[Path]) -> None:
    path = weights(tmp_path)
    assert weight_digests.content_of(path) == sha256(BEFORE).hexdigest()
    assert content_digest(path) == sha256(BEFORE).hexdigest()[:16]
    assert weight_digests.content_of(str(path)) == sha256(BEFORE).hexdigest()
    assert len(reads) == 1
    # what a folder is made of is asked file by file
    assert content_digest(tmp_path) == content_digest(tmp_path)
    assert reads.count(path) == 1


def rewrite(path: Path) -> None:
    """As many bytes, and the time set back: the file's own clock moves all the same."""
    times = path.stat()
    path.write_bytes(AFTER)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(path: Path) -> None:
    """Another file of the same size and time under the name."""
    times = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(AFTER)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, path)


def point_elsewhere(path: Path) -> None:
    """The name becomes a link, as in the hub's cache."""
    times = path.stat()
    other = path.with_name("blob")
    other.write_bytes(AFTER)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


def grow(path: Path) -> None:
    """More bytes at the end."""
    path.write_bytes(BEFORE + AFTER)


@pytest.mark.parametrize("change", [rewrite, replace, point_elsewhere, grow])
def test_a_changed_file_is_seen(
    change: Callable[[Path], None], tmp_path: Path, reads: list[Path]
) -> None:
    path = weights(tmp_path)
    assert weight_digests.content_of(path) == sha256(BEFORE).hexdigest()
    time.sleep(0.02)  # more than a step of the file system's clock
    change(path)
    assert weight_digests.content_of(path) == sha256(path.read_bytes()).hexdigest()
    assert len(reads) == 2


def test_what_could_change_within_a_step_of_the_clock_is_not_remembered(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_digests, "SETTLED", 60.0)
    path = weights(tmp_path)
    assert weight_digests.content_of(path) == weight_digests.content_of(path)
    assert len(reads) == 2
    assert not (tmp_path / "cache").exists()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)

    def reading(file: Path) -> str:
        digest = provenance.file_digest(file)
        grow(path)
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(weight_digests, "file_digest", reading)
        weight_digests.content_of(path)
    assert weight_digests.content_of(path) == sha256(path.read_bytes()).hexdigest()


def test_nothing_but_large_weights_is_remembered(tmp_path: Path, reads: list[Path]) -> None:
    for path in (
        weights(tmp_path, b"small"),
        weights(tmp_path, name="survey.sav"),
        weights(tmp_path, name="survey.csv"),
        weights(tmp_path, name="pairs.parquet"),
    ):
        weight_digests.content_of(path)
    assert not (tmp_path / "cache").exists()


def test_the_memory_is_its_users_alone_and_names_no_file(tmp_path: Path, reads: list[Path]) -> None:
    path = weights(tmp_path)
    weight_digests.content_of(path)
    (kept,) = (tmp_path / "cache" / "valuestrata" / "weights").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert tmp_path.name not in kept.read_text(encoding="utf-8") + kept.name


def test_a_memory_that_cannot_be_read_or_written_costs_time_alone(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    digest = weight_digests.content_of(path)
    (kept,) = (tmp_path / "cache" / "valuestrata" / "weights").iterdir()
    for damaged in ("", "[]", "{}", '{"state": 1, "sha256": "x"}', '{"state": [1], "sha256": "x"}'):
        kept.write_text(damaged, encoding="utf-8")
        assert weight_digests.content_of(path) == digest
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # a file, in which there is no folder
    assert weight_digests.content_of(path) == digest
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda name: name)  # a user who has no home
    with pytest.raises(RuntimeError):
        Path.home()
    assert weight_digests.content_of(path) == digest


def test_several_may_ask_at_once(tmp_path: Path, reads: list[Path]) -> None:
    path = weights(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(weight_digests.content_of, [path] * 40))
    assert digests == {sha256(BEFORE).hexdigest()}
    assert len(list((tmp_path / "cache" / "valuestrata" / "weights").iterdir())) == 1


def test_a_hub_model_is_known_by_its_commit_and_no_weights_are_read(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("0" * 40)
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights(folder)
    monkeypatch.setattr(model_files.hub, "snapshot", lambda *_: folder)
    model = TransformersModel(backend="transformers", model="owner/name", revision=folder.name)
    assert model_files.model_version(model) == f"owner/name@{folder.name}"
    assert not reads
