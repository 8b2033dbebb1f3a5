"""Random damage to every kind of file that musicemo reads back, and interruptions of everything that it writes.

A damaged file must be reported by an `InputError`, or must hold what it held before. A run that is killed, or whose
disk is full, must end as an uninterrupted one when it is resumed. ``make faults`` repeats each trial fifty times as
often; MUSICEMO_FAULTS sets the factor.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from complaints import any_warnings
from recorded_runs import write_run
from resuming import EXPERIMENT, assert_same_run, directories, flat, run, run_whole
from signals import song

from musicemo import files
from musicemo.comparison import compare, read_experiments
from musicemo.errors import InputError, MusicemoError
from musicemo.features import Pack, analyse_signal, read_features, write_features
from musicemo.reporting import make_report, render
from musicemo.training.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

# ---------------------------------------------------------------- binary files


def damaged(content: bytes, random: np.random.Generator, trials: int) -> Iterator[bytes]:
    """Yield copies of a file's content with one flipped bit each, then copies that are cut off."""
    for _ in range(trials):
        copy = bytearray(content)
        copy[random.integers(len(copy))] ^= 1 << random.integers(8)
        yield bytes(copy)
    for _ in range(max(1, trials // 4)):
        yield content[: random.integers(len(content))]


def assert_damage_is_reported(
    path: Path,
    read: Callable[[Path], Any],
    same: Callable[[Any], bool],
    random: np.random.Generator,
    trials: int,
) -> None:
    """Assert that each damaged copy of a file raises `InputError`, or is read with its old contents."""
    content = path.read_bytes()
    reported = 0
    for number, copy in enumerate(damaged(content, random, trials)):
        place = path.with_name(f"{number}{path.suffix}")
        place.write_bytes(copy)
        try:
            value = read(place)
        except InputError as error:
            reported += place.name in str(error)
        else:
            assert same(value), f"trial {number} was read with other contents"
        place.unlink()
    assert reported > trials / 2


def test_a_damaged_checkpoint(tmp_path, random, scale):
    weights = {f"layer{n}": torch.randn(8, 8, generator=torch.Generator().manual_seed(n)) for n in range(4)}
    save_checkpoint(tmp_path, {"epoch": 3, "network": weights}, best=True)
    expected = flat(load_checkpoint(tmp_path / "best.pt"))

    def same(content: Any) -> bool:
        values = flat(content)
        return values.keys() == expected.keys() and all(
            torch.equal(value, values[name]) if isinstance(value, torch.Tensor) else value == values[name]
            for name, value in expected.items()
        )

    assert_damage_is_reported(tmp_path / "best.pt", load_checkpoint, same, random, 30 * scale)


def test_a_damaged_feature_file(tmp_path, random, scale):
    write_features(tmp_path / "features.npz", analyse_signal(song(1.0)), None)
    whole = read_features(tmp_path / "features.npz")

    def same(file: Any) -> bool:
        return all(
            np.array_equal(getattr(file, name), getattr(whole, name))
            for name in ("frame", "beat", "beat_frames")
        )

    assert_damage_is_reported(tmp_path / "features.npz", read_features, same, random, 40 * scale)


def test_a_damaged_pack(tmp_path, random, scale):
    arrays = {f"track{n}": random.normal(size=(6, 20 + n)).astype(np.float32) for n in range(5)}
    Pack.build(tmp_path / "features.pack", arrays.items())

    def read(path: Path) -> dict[str, np.ndarray]:
        pack = Pack(path)
        return {name: np.array(pack[name]) for name in pack}

    def same(values: dict[str, np.ndarray]) -> bool:
        return values.keys() == arrays.keys() and all(np.array_equal(values[n], arrays[n]) for n in arrays)

    assert_damage_is_reported(tmp_path / "features.pack", read, same, random, 40 * scale)


# ---------------------------------------------------------------- run directories

#: Values of other types, and texts that are no JSON.
_WRONG = (None, True, -1, 1e308, "text", [], [1], {}, {"value": "text"}, {"a": {"b": [None]}})
_TEXTS = ("", "[" * 2000, '{"a":' * 2000, "{}", "[]", "null", '{"status": "done"', "\x00\x01", "\ud7ff")


def with_another_value(value: Any, random: np.random.Generator) -> Any:
    """Return JSON data in which one value, at any depth, is of another type or absent."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = list(value)[random.integers(len(value))]
        if random.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: with_another_value(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.integers(len(value))
        return [with_another_value(inner, random) if n == place else inner for n, inner in enumerate(value)]
    return _WRONG[random.integers(len(_WRONG))]


def damage(directory: Path, random: np.random.Generator) -> str:
    """Damage one file of a run directory; return a description."""
    files = sorted(path for path in directory.iterdir() if path.suffix in {".json", ".jsonl", ".csv", ".toml"})
    path = files[random.integers(len(files))]
    text = path.read_text(encoding="utf-8")
    kind = random.integers(4)
    if kind == 0:
        path.unlink()
        return f"{path.name} removed"
    if kind == 1:
        path.write_text(text[: random.integers(len(text))], encoding="utf-8")
        return f"{path.name} cut off"
    if kind == 2 or path.suffix in {".csv", ".toml"}:
        path.write_text(_TEXTS[random.integers(len(_TEXTS))], encoding="utf-8")
        return f"{path.name} replaced by another text"
    lines = [text] if path.suffix == ".json" else text.splitlines()
    number = random.integers(len(lines))
    lines[number] = json.dumps(with_another_value(json.loads(lines[number]), random))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{path.name} has a value of another type: {lines[number][:2000]}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return a folder with two finished runs of one experiment."""
    folder = tmp_path_factory.mktemp("finished") / "written"
    write_run(folder)
    write_run(folder, "20260102-030406-seed1", seed=1)
    return folder


def _report(folder: Path) -> None:
    render(make_report(folder))


def _compare(folder: Path) -> None:
    experiments = read_experiments([f"a={folder}", f"b={folder.parent / 'whole'}"], "test")
    compare(experiments, allow_different=True)


@pytest.mark.parametrize("read", [_report, _compare], ids=["report", "compare"])
def test_a_damaged_run_directory(read, finished, tmp_path, random, scale):
    shutil.copytree(finished, tmp_path / "whole")
    for number in range(25 * scale):
        folder = tmp_path / "written"
        shutil.copytree(finished, folder)
        what = damage(folder / ("20260102-030405-seed0", "20260102-030406-seed1")[number % 2], random)
        with any_warnings():
            try:
                read(folder)
            except InputError:
                pass
            except Exception as error:
                error.add_note(f"trial {number}: {what}")
                raise
        shutil.rmtree(folder)


def test_a_damaged_run_directory_is_resumed_or_refused(launcher, whole, tmp_path, random, scale):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    for number in range(2 * scale):
        copy = tmp_path / "runs" / "small" / whole.name
        shutil.copytree(whole, copy)
        what = damage(copy, random)
        done = run(launcher, tmp_path, "--resume", "--set", "training.epochs=13")
        assert done.code in (0, 2), (number, what, done.err)
        assert "Traceback" not in done.err, (number, what)
        shutil.rmtree(tmp_path / "runs")


# ---------------------------------------------------------------- interruptions


@pytest.fixture(scope="module")
def whole(launcher, tmp_path_factory) -> Path:
    """Return the directory of a run that nothing interrupted."""
    return run_whole(launcher, tmp_path_factory.mktemp("whole"))


def test_a_run_that_is_killed_around_any_write(launcher, whole, tmp_path, random, scale):
    """The calls that change a file's name or contents on disk are counted, and the process ends at one of them."""
    for number in range(2 * scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        call = ("replace", "fsync")[random.integers(2)]
        moment = f"{('before', 'after')[random.integers(2)]}:os.{call}:{random.integers(1, 30)}"
        killed = run(launcher, folder, moment=moment)
        assert killed.code in (-signal.SIGKILL, 0), (moment, killed.err)
        resumed = run(launcher, folder, "--resume")
        assert resumed.code == 0, (moment, resumed.err)
        latest = directories(folder)[-1]
        assert_same_run(latest, whole)
        shutil.rmtree(folder)


def test_a_run_whose_disk_is_full(launcher, whole, tmp_path, random, scale):
    """A limit on the size of a file makes each longer write fail, as a full disk does."""
    largest = (whole / "checkpoints" / "last.pt").stat().st_size
    for number in range(2 * scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "experiment.toml").write_text(EXPERIMENT)
        limit = int(random.integers(1, largest))
        environment = {"MUSICEMO_TEST_KILL_AT": ""}
        full = launcher.run(
            "run", "experiment.toml", folder=folder, environment=environment, largest_file=limit
        )
        assert full.code == 1, (limit, full.err)
        assert "Traceback" not in full.err, limit
        resumed = run(launcher, folder, "--resume")
        assert resumed.code == 0, (limit, resumed.err)
        shutil.rmtree(folder)


def test_what_is_written_atomically_is_whole_or_absent(tmp_path, random, scale):
    def write_until_full(file: Any, *, room: int, content: bytes) -> None:
        file.write(content[:room])
        raise OSError(28, "No space left on device")

    path = tmp_path / "file.json"
    for _ in range(10 * scale):
        old, content = {"old": list(range(50))}, json.dumps(list(range(200))).encode()
        files.write_json(path, old)
        room = int(random.integers(len(content)))
        with pytest.raises(MusicemoError):
            files.write_atomically(path, partial(write_until_full, room=room, content=content))
        assert json.loads(path.read_text()) == old
        assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]
