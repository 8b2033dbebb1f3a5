"""What holds for the project as a whole."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer

from musicemo.cli._app import make_app, take_without
from musicemo.components import registry
from musicemo.experiment import load_experiment, load_experiments
from musicemo.experiment.tracks import read_tracks, split_tracks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
OWN = [
    (kind, claim.name)
    for kind in registry.GROUPS
    for claim in registry.claims(kind)
    if claim.distribution == "musicemo"
]


def blocks(language: str) -> list[tuple[str, str]]:
    """Return page and text of every fenced block of a language."""
    found = []
    for page in PAGES:
        for text in re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            found.append((page.name, text))
    return found


def test_installed_entry_points_are_those_of_pyproject():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    written = {(kind, name) for kind, group in registry.GROUPS.items() for name in groups[group]}
    assert set(OWN) == written, "install again: pip install --editable ."


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_every_component_has_a_test_file_of_its_own(kind, name):
    folder = {"plugin": "observers", "loss": "losses", "features": "features"}.get(kind, f"{kind}s")
    slug = name.replace("-", "_")
    assert list((ROOT / "tests/builtin" / folder).glob(f"test_{slug}*.py"))


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_every_component_has_a_docstring_and_a_doc_entry(kind, name):
    summary, _, rest = (registry.load(kind, name).__doc__ or "").partition("\n")
    assert summary.endswith((".", ":")) or rest, "needs a summary"
    pages = "".join(
        (ROOT / "docs" / page).read_text() for page in ("components.md", "datasets.md", "features.md")
    )
    assert f"`{name}`" in pages


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/**/*.toml")), ids=lambda path: path.stem)
def test_every_experiment_validates(path):
    for experiment in load_experiments(path):
        assert experiment.description or path.parent.name != "experiments"


@pytest.mark.parametrize("group", registry.GROUPS.values())
def test_every_entry_point_group_is_documented(group):
    assert f"| `{group}` |" in (ROOT / "docs" / "plugins.md").read_text()


def test_contributing_maps_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    mapped = re.findall(r"^    (\w+/|\w+\.py) +\S", text, flags=re.MULTILINE)
    rooms = {f"{path.name}/" for path in (ROOT / "musicemo").iterdir() if (path / "__init__.py").is_file()}
    modules = {path.name for path in (ROOT / "musicemo").glob("[!_]*.py")}
    assert sorted(mapped) == sorted(rooms | modules)


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for page, text in [*blocks("console"), *blocks("bash"), *blocks("sh")]:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == "musicemo":
                found.append((page, words[1:]))
    return found


@pytest.mark.parametrize(
    ("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else None
)
def test_every_command_in_the_docs_is_one_that_the_command_line_takes(page, words):
    group = typer.main.get_command(make_app())
    _, words = take_without(words)
    if words[:1] == ["logbook"]:
        return  # the command that the example in docs/plugins.md adds
    if words and words[0].startswith("-"):
        assert any(words[0] in parameter.opts for parameter in group.params) or words == ["--help"]
        return
    command = group.commands[words[0]]
    if not {"-h", "--help"} & set(words):
        command.make_context(words[0], list(words[1:]))


def test_the_readmes_experiment_is_valid_and_reads_its_table(tmp_path):
    (text,) = (text for page, text in blocks("toml") if page == "README.md")
    (tmp_path / "mine.toml").write_text(text)
    lines = ["id,features,valence,genre,artist"]
    genres = ["Rock", "Psych-Rock", "Soundtrack", "Jazz"]
    for number in range(40):
        np.save(
            tmp_path / f"{number}.npy", np.random.default_rng(number).normal(size=(140, 20)).astype(np.float32)
        )
        lines.append(f"{number},{number}.npy,{1 + number % 9},{genres[number % 4]},artist {number // 4}")
    (tmp_path / "tracks.csv").write_text("\n".join(lines) + "\n")
    experiment = load_experiment(tmp_path / "mine.toml")
    tracks = read_tracks(experiment)
    assert tracks.tasks[1].classes == ("Jazz", "Rock")
    assert len(split_tracks(experiment, tracks).parts["test"])
