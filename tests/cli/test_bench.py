"""``musicemo bench``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benches import EXPERIMENT, install_protocol

FILE = EXPERIMENT.format(dataset="memory", method="random", split="seed = 3")


@pytest.fixture
def bench(command, fakes_beside, tmp_path):
    """Return what runs ``musicemo bench ARGUMENTS`` beside a protocol on tracks in memory."""
    install_protocol(fakes_beside, tmp_path, other="val")

    def run(*arguments, **how):
        return command("bench", *arguments, folder=tmp_path, **how)

    return run


def test_the_protocols_are_listed(bench):
    listed = bench("list")
    assert listed.code == 0
    rows = {line.split("  ")[0]: line for line in listed.out.splitlines()}
    assert {"emomusic", "emopia", "mtg-jamendo", "pmemo", "memory"} <= set(rows)
    assert "504 / 115 / 125" in rows["emomusic"]


def test_a_broken_protocol_does_not_hide_the_others(bench, fakes_beside):
    fakes_beside("protocol", "broken", lambda: Path("nowhere.toml"), "another-package")
    listed = bench("list")
    assert listed.code == 0
    assert "warning: protocol 'broken': its entry point must be a function" in listed.err
    assert "\nemopia " in listed.out


def test_a_protocol_is_shown_with_its_published_results(bench):
    shown = bench("emomusic-music2emo", "--show")
    assert shown.code == 0
    assert "0.651" in shown.out
    assert "(1) Not comparable: 98 of the 125 test clips" in shown.out
    assert "seed 42" in shown.out


@pytest.mark.slow
def test_a_run_is_printed_below_the_published_results(bench, tmp_path):
    done = bench("memory", "--set", "dataset.tracks=60")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    published, ours = (
        next(at for at, line in enumerate(lines) if line.startswith(name))
        for name in ("Joint", "memory-mean (")
    )
    assert published < ours
    assert "(2) memory-mean departs from the protocol: the validation set is not the protocol's" in done.out
    assert len(list((tmp_path / "runs/memory-mean").glob("*/results.json"))) == 1
    table = bench("memory", "runs/memory-mean", "--format", "markdown")
    assert table.code == 0, table.err
    assert "| SVR | 1.500 | Author |" in table.out
    assert "| memory-mean (2) | " in table.out
    other = bench("emopia", "runs/memory-mean")
    assert (other.code, "the run followed the protocol 'memory', not 'emopia'" in other.err) == (2, True)


@pytest.mark.slow
def test_the_experiment_that_a_search_chooses_is_printed(bench):
    pytest.importorskip("optuna", reason="needs optuna")
    space = '{trials = 1, space = {"training.optimizer.lr" = {low = 1e-3, high = 1e-2}}}'
    overrides = ["--set", "model.type=means", "--set", "name=searched", "--set", f"search={space}"]
    done = bench("memory", *overrides, "--jobs", "1")
    assert done.code == 0, done.err
    assert sum(line.startswith("searched (2)") for line in done.out.splitlines()) == 1


@pytest.mark.slow
def test_departures_are_known_before_training(bench, command, tmp_path):
    text = "the validation set is not the protocol's: it has 12 tracks, of 12"
    planned = bench("memory", "--dry-run")
    assert planned.code == 0, planned.err
    assert f"memory-mean: protocol memory: {text}\n" in planned.out
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mine.toml").write_text(f'protocol = "memory"\n{FILE}')
    valid = command("validate", "mine.toml", folder=tmp_path)
    assert valid.code == 0, valid.err
    assert re.search(rf"protocol +memory +{text}", valid.out)


@pytest.mark.slow
def test_a_file_is_run_under_a_protocol_that_it_need_not_name(bench, tmp_path):
    (tmp_path / "mine.toml").write_text(FILE)
    done = bench("memory", "mine.toml", "--model", "means", "--runs", "other")
    assert done.code == 0, done.err
    assert "\nmine (2)" in done.out
    assert (tmp_path / "other/mine").is_dir()


@pytest.mark.parametrize(
    ("arguments", "text", "problem"),
    [
        (["emomusik"], "", "no protocol has the name 'emomusik'; did you mean 'emomusic'"),
        (["emomusic"], "", "--root DIR is required: the folder of the dataset 'emomusic'"),
        (
            ["memory", "mine.toml"],
            "seed = 4",
            "mine.toml:6: split.seed: must be 3 under the protocol 'memory', not 4",
        ),
        (
            ["emopia", "mine.toml"],
            'protocol = "memory"',
            "protocol is memory, not emopia. Use musicemo bench memory",
        ),
    ],
)
def test_wrong_input(bench, tmp_path, arguments, text, problem):
    changed = FILE.replace("seed = 3", text) if text.startswith("seed") else f"{text}\n{FILE}"
    (tmp_path / "mine.toml").write_text(changed)
    refused = bench(*arguments)
    assert refused.code == 2
    assert problem in refused.err
    assert "Traceback" not in refused.err
