"""The keys of one of several datasets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from musicemo.data.splits import SplitSettings
from musicemo.settings import Settings

__all__ = ["DatasetSplitSettings", "JoiningSettings"]


class DatasetSplitSettings(Settings):
    """What of ``[split]`` is otherwise for one of several datasets."""

    #: How its tracks are split.
    method: Literal["official", "random", "stratified", "grouped"] | None = None
    #: Share of its tracks, which an official part goes before.
    validation: float | None = Field(default=None, ge=0, lt=1)
    #: Share of its tracks, which an official part goes before.
    test: float | None = Field(default=None, ge=0, lt=1)
    #: The task whose classes or binned ratings every part has in equal shares.
    stratify: str | None = None
    #: Bins of the ratings.
    bins: int | None = Field(default=None, ge=2)

    def over(self, settings: SplitSettings) -> SplitSettings:
        """Return the settings of ``[split]`` with what is given here in their place."""
        return SplitSettings.model_validate({**settings.model_dump(), **self.model_dump(exclude_none=True)})


class JoiningSettings(Settings):
    """The keys of a table ``[[dataset]]`` that are the core's, beside the component's parameters."""

    #: Stands before the ids of its tracks; the component's type, or its class in a file, where absent.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] | None = None
    #: Its part of what is drawn to train on, relative to those of the others; given for all of them or for none.
    proportion: float | None = Field(default=None, gt=0)
    #: What of ``[split]`` is otherwise for it.
    split: DatasetSplitSettings = DatasetSplitSettings()
