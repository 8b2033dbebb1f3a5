"""Which process makes which run, and the order of runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from harness import hooks_of, load, results_of, run_all

from musicemo.experiment import Experiment
from musicemo.hookspecs import hookimpl
from musicemo.running.launching import InProgress
from musicemo.running.prepare import RunOptions
from musicemo.running.sweep import Sweep
from musicemo.runs import RunDirectory, claim_run, earlier_runs, find_replicates, open_run, record_death

#: Claims each of ten runs, and holds what it was given until its standard input ends.
WORKER = """
import sys
from pathlib import Path
from musicemo.runs import RunInUseError, claim_run

kept = []
for number in map(str, range(10)):
    try:
        kept.append(claim_run(Path(sys.argv[1]), "x", "seed0", {"fingerprint": number}, resume=True))
        print(number, flush=True)
    except RunInUseError:
        pass
print("end", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_each_run_is_made_by_one_of_several_processes(tmp_path):
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    claimed: Counter[str] = Counter()
    for worker in workers:
        claimed.update(iter(lambda worker=worker: worker.stdout.readline().strip(), "end"))
    assert claimed == Counter(map(str, range(10)))
    heads = earlier_runs(tmp_path / "x")
    assert sorted(head.results["fingerprint"] for head in heads) == list("0123456789")
    assert {head.status for head in heads} == {"running"}
    assert {head.results["process"]["pid"] for head in heads} <= {worker.pid for worker in workers}
    for worker in workers:
        worker.kill()
        worker.communicate()
    assert {head.status for head in earlier_runs(tmp_path / "x")} == {"interrupted (killed)"}
    claim = claim_run(tmp_path, "x", "seed0", {"fingerprint": "3"}, resume=True)
    with claim.directory:
        assert claim.earlier is not None
        assert len(earlier_runs(tmp_path / "x")) == 10


class Ending:
    """Ends every run in its second epoch."""

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("released", [True, False])
def test_a_run_in_use_is_looked_at_again_when_all_others_are_done(fakes, released, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, plugins=[Ending()])
    (head,) = earlier_runs(tmp_path / "runs" / "small")
    held = RunDirectory(head.directory)
    held.acquire()
    sweep = Sweep([load(tmp_path, "seeds=[0, 1]")], RunOptions(resume=True), jobs=1)
    outcomes = sweep.run(tmp_path / "runs", hooks_of())
    replicate, outcome = next(outcomes)
    assert (replicate.seed, outcome.results["status"]) == (1, "done")
    if released:
        held.release()
    replicate, outcome = next(outcomes)
    assert replicate.seed == 0
    if released:
        assert outcome.directory == head.directory
        assert outcome.results["resumed_after_epoch"] == 1
    else:
        assert isinstance(outcome, InProgress)
        assert "it is skipped here" in outcome.message
        held.release()
    assert list(outcomes) == []


def test_without_resuming_a_launch_continues_what_its_lost_worker_began(tmp_path):
    def claim(launch):
        claimed = claim_run(tmp_path, "x", "seed0", {"fingerprint": "1", "launch": launch}, resume=False)
        claimed.directory.release()
        return claimed

    first = claim("a")
    assert first.earlier is None
    assert claim("b").directory.path != first.directory.path
    again = claim("a")
    assert again.directory.path == first.directory.path
    assert again.earlier.status == "interrupted (killed)"
    results = {**again.results, "status": "done", "metrics": {"test": {"valence": {"mae": {"value": 0.1}}}}}
    again.directory.write_results(results)
    (again.directory.path / "experiment.toml").write_text("[tasks.valence]\n")
    done = claim_run(tmp_path, "x", "seed0", {"fingerprint": "1", "launch": "a"}, resume=False)
    assert (done.status, done.directory) == ("done", first.directory.path)


def test_a_death_is_recorded_for_the_run_of_the_seed_alone(tmp_path):
    claims = [
        claim_run(
            tmp_path, "x", f"seed{seed}", {"fingerprint": str(seed), "seed": seed, "fold": None}, resume=True
        )
        for seed in (0, 1)
    ]
    for claim in claims:
        claim.directory.release()
    record_death(tmp_path / "x", 1, None, "its process died: SIGKILL")
    first, second = (results_of(claim.directory.path) for claim in claims)
    assert first["status"] == "running"
    assert (second["status"], second["error"]) == ("failed", "its process died: SIGKILL")
    assert "process" not in second


def write(folder: Path, name: str, seed: int = 0, **more: object) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    metrics = {"test": {"valence": {"tracks": 3}}}
    (path / "results.json").write_text(json.dumps({"status": "done", "seed": seed, "metrics": metrics} | more))
    (path / "experiment.toml").write_text('name = "x"\n')
    return path


def test_the_latest_run_is_that_by_utc(tmp_path, monkeypatch):
    """With a summer time that ends, and with runs of an earlier version, which were named by local time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        names = [
            "20261025-003000Z-seed0",  # 02:30 in summer time
            "20261025-013000Z-seed0",  # 02:30 in winter time
            "20261025-030000-seed0",  # local: 02:00 UTC
            "20261025-020500Z-seed0",
        ]
        for name in reversed(names):
            write(tmp_path / "x", name)
        assert [head.directory.name for head in earlier_runs(tmp_path / "x")] == names
        assert [path.name for path in find_replicates(tmp_path / "x")] == names[-1:]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_run_is_named_by_utc_in_every_time_zone(tmp_path, monkeypatch):
    from datetime import UTC, datetime, timedelta

    before = datetime.now(UTC) - timedelta(seconds=1)
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        claim = claim_run(tmp_path, "x", "seed0", {"fingerprint": zone}, resume=False)
        claim.directory.release()
    monkeypatch.undo()
    time.tzset()
    records = earlier_runs(tmp_path / "x")
    assert [record.results["fingerprint"] for record in records] == ["Pacific/Kiritimati", "Pacific/Pago_Pago"]
    assert all(before <= record.started <= datetime.now(UTC) for record in records)


def test_a_run_in_a_folder_of_another_name_is_sorted_by_what_it_recorded(tmp_path):
    write(tmp_path / "x", "20260101-000000Z-seed0")
    write(tmp_path / "x", "best", started="2026-06-01T00:00:00Z")
    write(tmp_path / "x", "20260301-000000Z-seed0")
    write(tmp_path / "x", "20269999-000000Z-seed0")
    names = [head.directory.name for head in earlier_runs(tmp_path / "x")]
    assert names == ["20269999-000000Z-seed0", "20260101-000000Z-seed0", "20260301-000000Z-seed0", "best"]


def test_the_results_of_many_runs_are_read_once(tmp_path, monkeypatch):
    for number in range(40):
        write(tmp_path / "x", f"20260101-{number:06d}Z-seed{number}", seed=number)
    opened: Counter[str] = Counter()
    from musicemo.runs import reading

    real = reading._open
    monkeypatch.setattr(reading, "_open", lambda path, size: opened.update([str(path)]) or real(path, size))
    for _ in range(3):
        assert len(earlier_runs(tmp_path / "x")) == 40
    assert set(opened.values()) == {1}
    opened.clear()
    assert len(find_replicates(tmp_path / "x")) == 40
    assert set(opened.values()) == {1}
    write(tmp_path / "x", "20260101-235959Z-seed9", seed=9)
    assert len(earlier_runs(tmp_path / "x")) == 41
    assert open_run(tmp_path / "x" / "20260101-000001Z-seed1").seed == 1


@pytest.mark.usefixtures("fakes")
def test_the_epochs_of_the_runs_in_work_are_read_from_their_directories(tmp_path, monkeypatch):
    sweep = Sweep([load(tmp_path, "seeds=[0, 1]", "training.epochs=9")], RunOptions())
    runs = {
        "first": {"status": "running", "launch": f"{sweep._launch}-0"},
        "second": {"status": "running", "launch": f"{sweep._launch}-1"},
        "done": {"status": "done", "launch": f"{sweep._launch}-2"},
        "of another command": {"status": "running", "launch": "0-0"},
        "of this process": {"status": "running"},
    }
    for name, results in runs.items():
        folder = tmp_path / "runs" / "small" / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "history.jsonl").write_text("{}\n" * 3)
    (tmp_path / "runs" / "small" / "second" / "history.jsonl").unlink()
    assert sweep.epochs(tmp_path / "runs") == [(3, 9), (0, 9)]
    monkeypatch.setattr(Experiment, "fitted_at_once", True)
    assert sweep.epochs(tmp_path / "runs") == []
