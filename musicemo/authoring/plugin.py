"""A new plugin: a project that can be installed, is tested as it stands, and trains its example."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import tomlkit

from musicemo import __version__
from musicemo.components import registry
from musicemo.errors import InputError, RunError

__all__ = ["KINDS", "add_component", "new_plugin"]

#: What can be made -> the kind of component that the registry calls it.
KINDS = {
    "model": "model",
    "dataset": "dataset",
    "features": "features",
    "augmentation": "augmentation",
    "sharing": "sharing",
    "loss": "loss",
    "weighting": "weighting",
    "hooks": "plugin",
}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_plugin(name: str, kind: str, folder: Path) -> Path:
    """Write a project for a component, and return its folder.

    Args:
        name: what experiments will call it, in kebab-case: ``my-crnn``. The distribution is ``musicemo-my-crnn``, its
            package ``musicemo_my_crnn`` and the class ``MyCrnn``.
        kind: a key of `KINDS`.
        folder: where the project's folder, named as the distribution, is made.

    Raises:
        InputError: the name has another form, is taken, or means something in Python; or the folder is there already.
        RunError: it cannot be written.
    """
    if kind not in KINDS:
        raise InputError(f"--kind {kind}: must be one of {', '.join(KINDS)}")
    words = _words(name, kind)
    if importlib.util.find_spec(words["package"]) is not None:
        raise InputError(f"{name!r}: a package {words['package']} is already installed. Choose another name")
    target = folder / words["distribution"]
    if target.exists():
        raise InputError(f"{target}: already exists. Nothing was written")
    if not folder.is_dir():
        raise InputError(f"--output {folder}: is not a folder")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{words['distribution']}."))
        _fill(temporary, kind, words)
        temporary.chmod(0o755)
        os.rename(temporary, target)  # noqa: PTH104  # both are names of one folder
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _words(name: str, kind: str) -> dict[str, str]:
    """Return what the templates' words stand for, after a look at the name."""
    kebab = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not _NAME.fullmatch(name):
        hint = f" (for example {kebab!r})" if _NAME.fullmatch(kebab) else ""
        raise InputError(
            f"{name!r} is not a valid component name. Use lower-case letters and digits, with words joined by "
            "hyphens and a "
            f"letter first{hint}"
        )
    if len(name) > 60:
        raise InputError(f"{name!r} has {len(name)} characters, but at most 60 are allowed")
    class_name = "".join(word.capitalize() for word in name.split("-"))
    package = f"musicemo_{name.replace('-', '_')}"
    if keyword.iskeyword(class_name):
        raise InputError(f"{name!r}: its class would have the name {class_name}, which Python reserves")
    registered = KINDS[kind]
    if claimed := [claim for claim in registry.claims(registered, disabled=True) if claim.name == name]:
        raise InputError(f"{registered} {name!r} already exists, from {claimed[0]}. Choose another name")
    return {
        "name": name,
        "kind": kind,
        "group": registry.GROUPS[registered],
        "class_name": class_name,
        "package": package,
        "distribution": f"musicemo-{name}",
        "bounds": _bounds(__version__),
        "module": kind,
        "example": "example.toml",
    }


def _bounds(version: str) -> str:
    """Return the versions of musicemo that a plugin written for this one works with: up to the next that may break."""
    major, minor = (int(part) for part in version.split(".")[:2])
    following = f"0.{minor + 1}" if major == 0 else f"{major + 1}"
    return f">={major}.{minor},<{following}"


def add_component(name: str, kind: str, project: Path) -> list[Path]:
    """Add a component to the project of a package: its class, a test, an example and an entry point.

    Args:
        name: name of the component, as for `new_plugin`.
        kind: a key of `KINDS`.
        project: folder with the `pyproject.toml` of the package, which is in ``src/<package>`` or ``<package>``.

    Returns:
        The files that were written and changed.

    Raises:
        InputError: the name is not valid or taken, the folder is not such a project, or a file exists already.
        RunError: a file cannot be written.
    """
    if kind not in KINDS:
        raise InputError(f"--kind {kind}: must be one of {', '.join(KINDS)}")
    words = _words(name, kind)
    metadata = project / "pyproject.toml"
    try:
        document = tomlkit.parse(metadata.read_text(encoding="utf-8"))
        distribution = document["project"]["name"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"--to {project}: {metadata} is not the metadata of a package: {error}") from error
    package = _package(project)
    module = name.replace("-", "_")
    example = "example.toml" if not (project / "example.toml").exists() else f"{name}.toml"
    words |= {"distribution": str(distribution), "package": package.name, "module": module, "example": example}
    texts = {
        package / f"{module}.py": _substituted(f"{kind}.py", words),
        project / "tests" / f"test_{module}.py": _substituted(f"test_{kind}.py", words),
        project / example: _substituted(f"{kind}.toml", words),
    }
    if existing := [path for path in texts if path.exists()]:
        raise InputError(f"{existing[0]}: already exists. Nothing was written")
    value = f"{package.name}.{module}:{words['class_name']}"
    entry_points: Any = document["project"].setdefault("entry-points", tomlkit.table(is_super_table=True))
    if words["group"] not in entry_points:
        group = tomlkit.table()
        group[name] = value
        group.add(tomlkit.nl())
        entry_points[words["group"]] = group
    elif name in entry_points[words["group"]]:
        raise InputError(
            f"{metadata}: project.entry-points.{words['group']} already has {name!r}. Nothing was written"
        )
    else:
        entry_points[words["group"]][name] = value
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if kind == "dataset" and not (project / "example_data").exists():
            _write_clips(project / "example_data")
        metadata.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{project}: cannot be written: {error.strerror or error}") from error
    return [*texts, metadata]


def _package(project: Path) -> Path:
    """Return the folder of the only package of a project.

    Raises:
        InputError: it has none, or several.
    """
    folder = project / "src" if (project / "src").is_dir() else project
    packages = sorted(path.parent for path in folder.glob("*/__init__.py") if path.parent.name != "tests")
    if len(packages) != 1:
        names = ", ".join(path.name for path in packages) or "none"
        raise InputError(f"--to {project}: must have one package in {folder} (packages: {names})")
    return packages[0]


def _substituted(template: str, words: Mapping[str, str]) -> str:
    file = files("musicemo.authoring").joinpath("templates", f"{template}.template")
    return Template(file.read_text(encoding="utf-8")).substitute(words)


def _fill(folder: Path, kind: str, words: Mapping[str, str]) -> None:
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        words["example"]: f"{kind}.toml",
        f"src/{words['package']}/__init__.py": "package.py",
        f"src/{words['package']}/{words['module']}.py": f"{kind}.py",
        f"tests/test_{kind}.py": f"test_{kind}.py",
    }
    for name, source in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_substituted(source, words), encoding="utf-8")
    if kind == "dataset":
        _write_clips(folder / "example_data")


def _write_clips(folder: Path, count: int = 30) -> None:
    """Write the clips that the example of a dataset is trained on: chromagrams whose brightness is their arousal."""
    generator = np.random.default_rng(0)
    (folder / "features").mkdir(parents=True)
    lines = ["id,artist,valence,arousal"]
    for index in range(count):
        valence, arousal = generator.uniform(1, 9, size=2).round(1)
        chroma = generator.random((int(generator.integers(20, 30)), 12)).astype(np.float32)
        chroma[:, 0] += valence / 9
        chroma *= np.float32(arousal / 9)
        np.save(folder / "features" / f"clip{index:02d}.npy", chroma)
        lines.append(f"clip{index:02d},artist {index // 3},{valence},{arousal}")
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
