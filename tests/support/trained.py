"""A small trained experiment for tests of the command line, on the dataset of `tests/prediction/clips.py`."""

from __future__ import annotations

from pathlib import Path

import fakes
from clips import TEXT

FOLDER = Path(__file__).parent


class Trained:
    """Two finished replicates in `folder/runs/songs`, and what runs commands that know their dataset."""

    def __init__(self, launcher, folder: Path) -> None:
        self.launcher = launcher
        self.folder = folder
        self._site = folder / "site"
        self._site.mkdir()
        fakes.write_distribution(self._site, [("dataset", "clips", "clips:Clips")], name="clips-plugin")
        (folder / "songs.toml").write_text(TEXT)
        finished = self.run("run", "songs.toml", "--jobs", "1")
        assert finished.code == 0, finished.err  # what is slow tells how far it is
        self.replicates = folder / "runs" / "songs"
        self.first, self.second = (next(self.replicates.glob(f"*-seed{seed}")) for seed in (0, 1))

    def run(self, *arguments, folder: Path | None = None, plugin: bool = True):
        return self.launcher.run(*arguments, folder=folder or self.folder, path=self.path if plugin else [])

    @property
    def path(self) -> list[Path]:
        """Folders of the dataset's package and of its code."""
        return [self._site, FOLDER]
