import errno
import os
import random
import re
import resource
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from musicemo.errors import InputError, RunError
from musicemo.training import content_hash, load_checkpoint
from musicemo.training.checkpoint import save_checkpoint, storable, unreadable
from musicemo.training.randomness import random_state


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def state(value=1.0):
    return {"network": {"weight": torch.full((20, 10), value)}, "epoch": 3, "random": random_state()}


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    save_checkpoint(tmp_path, state(2.0), best=False)
    assert names(tmp_path) == ["last.pt"]
    found = load_checkpoint(tmp_path / "last.pt")
    assert found["epoch"] == 3
    assert torch.equal(found["network"]["weight"], torch.full((20, 10), 2.0))


def test_the_best_is_kept_until_there_is_a_better(tmp_path):
    for value, best in [(1.0, True), (2.0, False), (3.0, True), (4.0, False)]:
        save_checkpoint(tmp_path, state(value), best=best)
        assert names(tmp_path) == ["best.pt", "last.pt"]
    values = [load_checkpoint(tmp_path / name)["network"]["weight"][0, 0] for name in ("best.pt", "last.pt")]
    assert values == [3.0, 4.0]


def test_loading_executes_nothing(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    torch.save({"format": 1, "network": Malicious()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt: is not a readable checkpoint: it holds other objects"):
        load_checkpoint(tmp_path / "evil.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"whole\.pt: is not a readable checkpoint"):
        load_checkpoint(tmp_path / "whole.pt")
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"last\.pt: the checkpoint does not exist"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, {"format": 99}, [1, 2], torch.zeros(3)])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: is not a checkpoint of this version of musicemo"):
        load_checkpoint(tmp_path / "other.pt")


def same(first, second):
    """Tell whether two contents are the same, tensors by their bytes."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


@pytest.mark.slow
def test_every_damage_that_changes_the_content_is_refused(tmp_path):
    save_checkpoint(tmp_path, state(), best=False)
    whole, broken = (tmp_path / "last.pt").read_bytes(), tmp_path / "broken.pt"
    content = load_checkpoint(tmp_path / "last.pt")
    damaged = [whole[: len(whole) * share // 20] for share in range(20)]
    draw = random.Random(0)
    for _ in range(250):  # a single bit, anywhere
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(changed))
    damaged += [b"hello", b"epoch,loss\n1,2\n", b"\x80\x04N.", b"PK\x03\x04", b"\x80\x02}q\x00.", b"{}"]
    refusals = []
    for bad in damaged:
        broken.write_bytes(bad)
        try:
            assert same(load_checkpoint(broken), content)  # such as a bit between two members
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(re.fullmatch(r"\S+broken\.pt: is not a [^\n]*", refusal) for refusal in refusals)


def test_a_member_that_is_marked_as_a_folder_is_refused(tmp_path):
    """torch reads it as empty and returns a tensor of whatever its memory held."""
    save_checkpoint(tmp_path, {"weights": torch.arange(8.0)}, best=False)
    path = tmp_path / "last.pt"
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")
    while entry >= 0:
        content[entry + 38] |= 0x10
        entry = content.find(b"PK\x01\x02", entry + 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt: is not a readable checkpoint: .* marked as a folder"):
        load_checkpoint(path)


def test_memory_is_bounded_by_the_size_of_the_file(tmp_path):
    path = tmp_path / "large.pt"
    torch.save({"format": 1, "network": {"weight": torch.zeros(1).expand(10**12)}}, path)
    with pytest.raises(InputError, match=r"network\.weight is not a tensor within the file"):
        load_checkpoint(path)
    save_checkpoint(tmp_path, state(), best=False)
    with zipfile.ZipFile(tmp_path / "last.pt") as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        load_checkpoint(path)


def test_a_value_that_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(RunError, match=r"cannot store 'weighting\.a\.1' of type builtins\.function"):
        save_checkpoint(tmp_path, {"weighting": {"a": [1, lambda: 1]}}, best=True)
    assert names(tmp_path) == []


def test_values_of_numpy_become_plain_ones(tmp_path):
    content = {"classes": [np.str_("pop")], "range": (np.float64(1.0), np.int64(9)), np.str_("flag"): np.True_}
    save_checkpoint(tmp_path, storable(content), best=False)
    found = load_checkpoint(tmp_path / "last.pt")
    found.pop("format")
    assert same(found, {"classes": ["pop"], "range": (1.0, 9), "flag": True})
    assert unreadable(content).startswith("'classes.0' of type numpy.str_")
    assert unreadable(storable(content)) == ""


def test_the_hash_of_a_content_is_that_of_its_weights_and_scaling(tmp_path):
    scaling = {"offset": torch.zeros(3), "scale": torch.ones(3)}
    hashes = []
    for value, seconds, offset in [(1.0, 1.0, 0.0), (1.0, 2.0, 0.0), (2.0, 1.0, 0.0), (1.0, 1.0, 1.0)]:
        content = state(value) | {"seconds": seconds, "scaling": scaling | {"offset": torch.full((3,), offset)}}
        save_checkpoint(tmp_path, content, best=False)
        hashes.append(content_hash(tmp_path / "last.pt"))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("best", [True, False])
def test_a_full_disk_leaves_the_earlier_checkpoints(best, tmp_path):
    save_checkpoint(tmp_path, state(1.0), best=True)
    large = {"network": {"weight": torch.zeros(100, 1000)}}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a write beyond it fails as on a full disk
    try:
        with pytest.raises(RunError, match=r"\.pt: cannot be written: File too large"):
            save_checkpoint(tmp_path, large, best=best)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["best.pt", "last.pt"]
    for name in ("best.pt", "last.pt"):
        assert load_checkpoint(tmp_path / name)["network"]["weight"].shape == (20, 10)


def test_a_disk_without_space_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"last\.pt: cannot be written: No space left on device"):
        save_checkpoint(tmp_path, state(), best=False)
    assert names(tmp_path) == []


def test_no_checkpoint_speaks_of_a_best_epoch_that_best_is_not_of(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"epoch": 1}, best=True)
    replace, count = os.replace, 0

    def fail_second(source, target):
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(errno.EIO, "as if the power had gone")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(RunError):
        save_checkpoint(tmp_path, {"epoch": 2}, best=True)
    assert load_checkpoint(tmp_path / "last.pt")["epoch"] == 1
    assert load_checkpoint(tmp_path / "best.pt")["epoch"] == 2
