"""Names to components, from entry points: listing reads metadata only, loading happens on first use."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo import __version__
from musicemo.components.isolation import PluginFailed, loading
from musicemo.errors import InputError, MusicemoError, nearest

if TYPE_CHECKING:
    import importlib.metadata

__all__ = [
    "GROUPS",
    "Claim",
    "claims",
    "entry_points",
    "ignored",
    "load",
    "normalized",
    "noun",
    "third_party_plugins",
    "without",
]

_log = logging.getLogger(__name__)

#: Kind of component -> entry-point group.
GROUPS = {
    "dataset": "musicemo.datasets",
    "features": "musicemo.features",
    "model": "musicemo.models",
    "augmentation": "musicemo.augmentations",
    "sharing": "musicemo.sharings",
    "loss": "musicemo.losses",
    "weighting": "musicemo.weightings",
    "launcher": "musicemo.launchers",
    "protocol": "musicemo.protocols",
    "plugin": "musicemo.plugins",
}

#: Kind of component -> what one of it is called, if that is not the kind.
_NOUNS = {"features": "feature extractor", "sharing": "sharing architecture"}

#: Modules of the import finders that look for distributions in the folders of `sys.path`.
_FINDERS = ("_frozen_importlib_external", "importlib._bootstrap_external", "importlib.metadata")

#: Folders of a distribution's metadata.
_METADATA = ("*.dist-info", "*.egg-info", "EGG-INFO")

#: Environment variable with the names of components and distributions to ignore, separated by commas.
_DISABLE = "MUSICEMO_DISABLE_PLUGINS"


@dataclass(frozen=True, slots=True)
class Claim:
    """A component or plugin that a distribution registers under a name."""

    kind: str
    name: str
    distribution: str
    version: str
    entry_point: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point.value})"

    @property
    def disabled(self) -> bool:
        """Whether its name or its distribution is ignored: see `without`."""
        return bool({self.name, normalized(self.distribution)} & _disabled())

    @property
    def origin(self) -> str:
        """The arguments of ``pip install`` for a distribution from a folder or a URL; empty if an index has it."""
        try:
            text = self.entry_point.dist.read_text("direct_url.json") if self.entry_point.dist else None
            return _arguments(json.loads(text)) if text else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # metadata that no installer wrote
            return ""

    @property
    def incompatible(self) -> str:
        """The versions of musicemo that its distribution requires if this one is not among them, else empty."""
        if self.distribution == "musicemo":
            return ""  # it names itself in its optional dependencies, and `packaging` is slow to import
        requires = _described(self.entry_point.dist)[2]
        return _other_versions(tuple(text for text in requires if text.startswith("musicemo")))

    def load(self) -> Any:
        """Import the component or plugin.

        Raises:
            InputError: Its distribution requires another version of musicemo, or it cannot be imported.
        """
        if self.incompatible:
            raise InputError(
                f"{self.kind} {self.name!r} of {self} requires {self.incompatible}, but musicemo {__version__} "
                f"is installed. Try pip install --upgrade {self.origin or self.distribution}"
            )
        try:
            with loading():
                return self.entry_point.load()
        except (MusicemoError, PluginFailed) as error:
            raise InputError(f"{self.kind} {self.name!r} of {self} cannot be imported: {error}") from error


def _arguments(direct_url: Mapping[str, Any]) -> str:
    """Return the arguments of ``pip install`` for the content of ``direct_url.json``, as PEP 610 defines it."""
    from urllib.request import url2pathname

    url: str = direct_url["url"]
    if vcs := direct_url.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs.get('requested_revision') or vcs['commit_id']}"
    elif url.startswith("file:"):
        url = url2pathname(url.removeprefix("file:").removeprefix("//"))
        if subdirectory := direct_url.get("subdirectory"):
            return shlex.quote(os.path.join(url, subdirectory))  # noqa: PTH118  # text for a shell
    elif not url:
        return ""
    if subdirectory := direct_url.get("subdirectory"):
        url = f"{url}#subdirectory={subdirectory}"
    editable = "--editable " if (direct_url.get("dir_info") or {}).get("editable") else ""
    return f"{editable}{shlex.quote(url)}"


def normalized(name: str) -> str:
    """Return the name of a distribution in its normal form: ``my-package`` for ``My_Package``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _disabled() -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in os.environ.get(_DISABLE, "").split(","))))


@functools.cache
def _other_versions(requirements: Sequence[str]) -> str:
    """Return the requirement of musicemo that this version does not meet, or an empty text."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        applies = requirement.name == "musicemo" and (marker is None or marker.evaluate({"extra": ""}))
        if applies and not requirement.specifier.contains(__version__, prereleases=True):
            return f"musicemo{requirement.specifier}"
    return ""


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Ignore components, plugins or whole distributions of these names, also in child processes.

    Raises:
        InputError: No installed component, plugin or distribution has such a name.
    """
    installed = [claim for kind in GROUPS for claim in claims(kind, disabled=True)]
    allowed = {claim.name for claim in installed} | {normalized(claim.distribution) for claim in installed}
    if unknown := [name for name in names if normalized(name) not in allowed and name not in allowed]:
        raise InputError(
            *(
                f"--without {name}: no component, plugin or package has this name{nearest(name, allowed)}"
                for name in unknown
            )
        )
    before = os.environ.get(_DISABLE)
    os.environ[_DISABLE] = ",".join([*filter(None, [before]), *names])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_DISABLE, None)  # a plugin may have cleared the environment
        else:
            os.environ[_DISABLE] = before


#: Identity of a distribution -> itself and the result of `_described`: each access to its metadata parses all of it.
_DESCRIBED: dict[int, tuple[object, tuple[str, str, tuple[str, ...]]]] = {}


def _described(distribution: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return name, version and requirements of the distribution of an entry point."""
    if distribution is None:
        return "unknown", "", ()
    if id(distribution) not in _DESCRIBED:
        try:
            requires = tuple(getattr(distribution, "requires", None) or ())
            described = distribution.name or "unknown", distribution.version or "", requires
        except Exception:  # metadata in another encoding, or without a version
            described = "unknown", "", ()
        _DESCRIBED[id(distribution)] = (distribution, described)
    return _DESCRIBED[id(distribution)][1]


@functools.cache
def entry_points(group: str) -> importlib.metadata.EntryPoints:
    """Return the installed entry points of a group. They are read once per process.

    A distribution whose metadata cannot be read is ignored, with a warning.
    """
    import importlib.metadata  # slower to import than the rest of the command line, and not needed for --help

    try:
        return importlib.metadata.entry_points(group=group)
    except Exception:  # one broken distribution is enough
        return importlib.metadata.EntryPoints(
            point for points in _distributions().values() for point in points if point.group == group
        )


@functools.cache
def _distributions() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Return the entry points of each distribution with readable metadata; the first of a name counts."""
    import importlib.metadata

    points: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            name = normalized(distribution.name)
            if name not in points:
                points[name] = list(distribution.entry_points)
        except Exception as error:
            place = getattr(distribution, "_path", "a distribution without a path")
            _log.warning(
                f"{place}: the metadata cannot be read, so the distribution is ignored: "
                f"{type(error).__name__}: {error}"
            )
    return points


def third_party_plugins() -> bool:
    """Return whether a distribution beside musicemo may register plugins, from the names and texts of its files.

    This is quicker than reading entry points. It returns True if distributions may lie elsewhere than in folders.
    """
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if any(getattr(finder, "__module__", None) not in _FINDERS for finder in finders):
        return True
    for folder in map(Path, dict.fromkeys(sys.path)):
        if folder.is_file():  # an archive
            return True
        for file in (file for pattern in _METADATA for file in folder.glob(f"{pattern}/entry_points.txt")):
            is_musicemo = normalized(file.parent.stem.partition("-")[0]) == "musicemo"
            with suppress(OSError):
                if not is_musicemo and b"musicemo.plugins" in file.read_bytes():
                    return True
    return False


def noun(kind: str) -> str:
    """Return what one component of a kind is called in a sentence."""
    return _NOUNS.get(kind, kind)


def claims(kind: str, *, disabled: bool = False) -> list[Claim]:
    """Return every claim of a kind, sorted by name. Nothing is imported.

    Args:
        kind: Kind of component.
        disabled: Whether to include ignored claims: see `without`.
    """
    unique = {
        Claim(kind, point.name, *_described(point.dist)[:2], point) for point in entry_points(GROUPS[kind])
    }
    return sorted(
        (claim for claim in unique if disabled or not claim.disabled),
        key=lambda claim: (claim.name, str(claim)),
    )


def ignored(kind: str, name: Any) -> bool:
    """Return whether a name is installed, but all of its distributions are ignored: see `without`."""
    return {claim.disabled for claim in claims(kind, disabled=True) if claim.name == name} == {True}


def load(kind: str, name: str) -> Any:
    """Import a component or plugin.

    Raises:
        InputError: No distribution or more than one claims the name, it requires another version of musicemo, or
            it cannot be imported.
    """
    installed = claims(kind)
    claimants = [claim for claim in installed if claim.name == name]
    if not claimants:
        if ignored := [claim for claim in claims(kind, disabled=True) if claim.name == name]:
            raise InputError(
                f"{kind} {name!r} of {ignored[0]} is ignored, by --without or {_DISABLE}={os.environ[_DISABLE]}"
            )
        choices = sorted({claim.name for claim in installed})
        listed = ", ".join(choices) or "none installed"
        raise InputError(
            f"no {noun(kind)} has the name {name!r}{nearest(name, choices)} (installed: {listed}). If another package "
            "provides it, install that package with pip"
        )
    if len(claimants) > 1:
        both = " and ".join(str(claim) for claim in claimants)
        raise InputError(
            f"{kind} {name!r} is provided more than once, by {both}. Uninstall all but one, or ignore one with "
            "--without DISTRIBUTION"
        )
    return claimants[0].load()
