"""What every built-in dataset must hold beside the contract: call `assert_conforms(dataset)` on an instance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from musicemo.contracts import Dataset, Track
from musicemo.testing import check_dataset


def assert_conforms(dataset: Dataset) -> list[Track]:
    """Hold a dataset to its contract, and a dataset of audio to yielding audio; return the tracks."""
    tracks = check_dataset(dataset)
    if getattr(dataset, "_recordings", None) is not None:
        assert all(track.audio is not None for track in tracks)
        assert not hasattr(dataset, "rows"), "the core chooses among the outputs of the extractor"
    return tracks


def assert_knows_its_folder(dataset: Any, root: Path, *learnt: str) -> None:
    """Hold a dataset's class to what `musicemo init` asks of it: its own folder, and no other."""
    proposal = dataset.propose(root)
    assert [target.name for target in proposal.targets] == list(learnt)
    assert not proposal.general
    made = dataset(**proposal.parameters)
    declared = {target.name for target in made.targets}
    assert {target.name for target in (*proposal.targets, *proposal.others)} == declared
    assert proposal.tracks
    (root / "empty").mkdir()
    assert dataset.propose(root / "empty") is None
    (root / "file.csv").touch()
    assert dataset.propose(root / "file.csv") is None
