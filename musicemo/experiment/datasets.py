"""The experiment's data: one dataset, or several that are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from musicemo import toml
from musicemo.components.lookup import Components, describe_problem
from musicemo.components.spec import Component, to_toml
from musicemo.contracts import Dataset
from musicemo.data import Joined, JoiningSettings, SplitSettings, TaskSettings
from musicemo.errors import InputError
from musicemo.experiment.features import MOVED
from musicemo.settings import validate

__all__ = ["JointDataset", "Member", "find_members"]

_CORE = tuple(JoiningSettings.model_fields)


@dataclass(frozen=True)
class Member:
    """One of several datasets."""

    name: str
    component: Component
    settings: JoiningSettings

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, defaults filled in."""
        core = to_toml(self.settings.model_dump() | {"name": self.name})
        return {**self.component.to_table(), **{key: value for key, value in core.items() if value != {}}}


@dataclass(frozen=True)
class JointDataset:
    """The tables ``[[dataset]]``."""

    members: Sequence[Member]

    @property
    def name(self) -> str:
        """The datasets' names."""
        return " + ".join(member.name for member in self.members)

    def build(self, tasks: Mapping[str, TaskSettings], source: toml.Source) -> Dataset:
        """Construct every dataset, and the one that they are together.

        Raises:
            InputError: constructors refuse their parameters, or what they make does not go together.
        """
        problems: list[str] = []
        built: dict[str, Dataset] = {}
        for index, member in enumerate(self.members):
            try:
                with source.blaming("dataset", index):
                    built[member.name] = member.component.build()
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(*problems)
        with source.blaming("dataset"):
            return Joined(built, tasks)

    def splits(self, settings: SplitSettings) -> dict[str, tuple[toml.Key, SplitSettings]]:
        """Return where each dataset's split is written, and what it is."""
        return {
            member.name: (("dataset", index, "split"), split.over(settings))
            if (split := member.settings.split).model_fields_set
            else (("split",), settings)
            for index, member in enumerate(self.members)
        }

    def to_table(self) -> list[dict[str, Any]]:
        """Return the TOML tables, defaults filled in."""
        return [member.to_table() for member in self.members]


def find_members(
    components: Components, source: toml.Source, problems: list[str], split: SplitSettings
) -> JointDataset:
    """Look up and validate the datasets of an array of tables, gathering problems."""
    members: list[Member] = []
    for index, table in enumerate(source.table["dataset"]):
        key: toml.Key = ("dataset", index)
        component = components.find("dataset", key, ignore=_CORE, moved=MOVED)
        if component is not None:
            for taken in sorted(set(component.parameters) & set(_CORE)):
                problems.append(
                    source.error(
                        (*key, "type"),
                        f"{component.name!r} has a parameter {taken!r}, which is a key of [[dataset]] itself: it can "
                        "be a [dataset] only, or its parameter must be renamed",
                    )
                )
        core = {name: value for name, value in table.items() if name in _CORE}
        place = key
        try:
            settings = validate(JoiningSettings, core)
            assert isinstance(settings, JoiningSettings)
            place = (*key, "split")
            settings.split.over(split)
        except ValidationError as error:
            problems += [
                describe_problem(source, place, JoiningSettings, details) for details in error.errors()
            ]
            continue
        if component is not None:
            members.append(Member(settings.name or component.name.rpartition(":")[2], component, settings))
    names = [member.name for member in members]
    for index, name in enumerate(names):
        if name in names[:index]:
            problems.append(
                source.error(
                    ("dataset", index),
                    f"another dataset also has the name {name!r}. Give each dataset a different name",
                )
            )
    has_proportion = [member.settings.proportion is not None for member in members]
    if any(has_proportion) and not all(has_proportion):
        lacking = has_proportion.index(False)
        problems.append(
            source.error(
                ("dataset", lacking),
                f"{names[lacking]!r} has no proportion. Set a proportion for every dataset or for none",
            )
        )
    return JointDataset(members)
