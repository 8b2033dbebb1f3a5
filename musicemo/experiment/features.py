"""The experiment's features: the tables ``[features]`` and ``[[features]]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from musicemo import toml
from musicemo.components import registry
from musicemo.components.local import unplaced
from musicemo.components.lookup import Components, core_settings
from musicemo.components.spec import Component, default_component, make_component, permission_of, to_toml
from musicemo.contracts import FeatureExtractor, Launcher, Track
from musicemo.errors import InputError
from musicemo.features import FeatureSettings, Stream, with_features
from musicemo.settings import plain_message, validate

__all__ = [
    "DEFAULT_FEATURES",
    "MOVED",
    "FeatureTable",
    "default_features",
    "extract",
    "find_features",
    "read_stream",
    "stream_of",
    "streams_of",
]

#: The extractor of tracks with audio if the experiment has no table ``[features]``.
DEFAULT_FEATURES = "mel-chroma"

#: Former key of ``[dataset]`` -> the key that replaces it.
MOVED = {
    "features": 'features.outputs, for example outputs = ["mel"]',
    "sync": 'features.grid, for example grid = "beat"',
    "offset": "features.excerpt = [start, length]",
    "duration": "features.excerpt = [start, length]",
    "cache": "features.cache",
}

_CORE = tuple(FeatureSettings.model_fields)


@dataclass(frozen=True)
class FeatureTable:
    """One table of features: an extractor and the settings of its stream."""

    component: Component
    settings: FeatureSettings

    def stream(self) -> Stream:
        """Construct the stream.

        Raises:
            InputError: The extractor rejects its parameters, or the settings do not fit it.
        """
        component = self.component
        return Stream(
            unplaced(component.name),
            to_toml(component.parameters),
            component.build,
            self.settings,
            component.code.sha256 if component.code else "",
        )

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, defaults filled in."""
        settings = to_toml(self.settings.model_dump(exclude_none=True))
        return {**self.component.to_table(), **settings}


def find_features(components: Components, source: toml.Source, problems: list[str]) -> list[FeatureTable]:
    """Look up and validate the features of an experiment, gathering problems; none if it has no such table."""
    tables = source.table.get("features")
    several = isinstance(tables, list)
    if tables is None:
        return []
    features: list[FeatureTable] = []
    for index, table in enumerate(tables if several else [tables]):
        key: toml.Key = ("features", index) if several else ("features",)
        if not isinstance(table, Mapping):
            continue  # the schema has reported it
        component = components.find("features", key, ignore=_CORE)
        settings_table = {name: value for name, value in table.items() if name in _CORE}
        if isinstance(settings_table.get("cache"), str):
            folder = source.origin((*key, "cache")).folder
            settings_table["cache"] = str(folder / settings_table["cache"])
        settings = core_settings(FeatureSettings, source, key, settings_table, problems)
        if component is not None and settings is not None:
            features.append(FeatureTable(component, settings))
    names = [table.settings.name or table.component.name for table in features]
    for index, name in enumerate(names):
        if name in names[:index]:
            problems.append(
                source.error(
                    ("features", index), f"another stream is also called {name!r}. Give each a different name"
                )
            )
    grids = {table.settings.grid for table in features} - {"track"}
    if several and len(features) > 1 and len(grids) > 1:
        problems.append(
            source.error(
                ("features", 0, "grid"),
                "several streams need one time grid, the same for all: frame, beat or segment; only a stream with "
                "the grid track can stand beside another grid",
            )
        )
    return features


def default_features(streams: Sequence[Stream]) -> list[FeatureTable]:
    """Return the tables of the streams of an experiment without any, with their settings filled in."""
    return [
        FeatureTable(
            default_component("features", stream.type),
            stream.settings.model_copy(
                update={"outputs": list(stream.outputs), "grid": stream.grid, "pool": stream.pool}
            ),
        )
        for stream in streams
    ]


def stream_of(table: Mapping[str, Any]) -> Stream:
    """Construct a stream of a registered extractor from the form of `Stream.to_table`.

    Raises:
        InputError: The extractor is not installed, or the table does not fit it.
    """
    name = str(table["type"])
    parameters = {key: value for key, value in table.items() if key != "type" and key not in _CORE}
    try:
        settings = validate(FeatureSettings, {key: value for key, value in table.items() if key in _CORE})
        factory = registry.load("features", name)
        if permission := permission_of(factory, parameters):
            raise InputError(
                f"features {name!r}: {permission} is allowed in the experiment's own [features] only"
            )
        component = make_component("features", name, factory, parameters)
    except ValidationError as error:
        raise InputError(f"features {name!r}: {plain_message(error.errors()[0])}") from error
    return FeatureTable(component, settings).stream()


def read_stream(file: Path) -> Stream:
    """Construct the stream of the table ``[features]`` in a TOML file, whose other tables are ignored.

    Raises:
        InputError: The file cannot be read, has none or several such tables, or the table is not valid.
    """
    source = toml.read(file, [])
    if not isinstance(source.table.get("features"), dict):
        tables = source.table.get("features")
        several = f", but has {len(tables)} streams" if isinstance(tables, list) else ""
        raise InputError(f"{file}: needs one table [features]{several}")
    problems: list[str] = []
    tables = find_features(Components(source, problems), source, problems)
    if problems:
        raise InputError(*problems)
    (stream,) = streams_of(tables, source)
    if not isinstance(stream.extractor, FeatureExtractor):
        raise InputError(
            source.error(("features", "type"), f"{stream.type!r} reads ready-made arrays, not audio")
        )
    return stream


def streams_of(features: Sequence[FeatureTable], source: toml.Source) -> list[Stream]:
    """Construct the streams of an experiment with audio: those of its tables, or the default.

    Raises:
        InputError: An extractor rejects its parameters, or settings do not fit it; with the line of the file.
    """
    if not features:
        return [FeatureTable(default_component("features", DEFAULT_FEATURES), FeatureSettings()).stream()]
    streams = []
    problems: list[str] = []
    several = isinstance(source.table.get("features"), list)
    for index, table in enumerate(features):
        key: toml.Key = ("features", index) if several else ("features",)
        try:
            with source.blaming(*key):
                streams.append(table.stream())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return streams


def extract(
    features: Sequence[FeatureTable],
    source: toml.Source,
    dataset: Mapping[str, str],
    tracks: Sequence[Track],
    launcher: Launcher | None = None,
) -> tuple[list[Track], Sequence[Stream]]:
    """Return tracks with their features, and the streams of those that have audio; see `with_features`.

    Raises:
        InputError: Features cannot be extracted or read.
        RunError: The cache cannot be written, or an extractor returns invalid values.
    """
    audio = any(track.audio is not None for track in tracks)
    if not audio and not features:
        return list(tracks), ()
    streams = streams_of(features, source)
    with source.blaming("features"):
        return with_features(tracks, streams, dataset, launcher=launcher), streams if audio else ()
