"""Ensembles: the mean predictions of finished runs, recorded like the result of a run."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from musicemo import toml
from musicemo.components.hooks import Hooks
from musicemo.data import PARTS, hash_ids
from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation, average_evaluations
from musicemo.experiment import Experiment, Replicate
from musicemo.experiment.ensemble import Ensemble
from musicemo.experiment.tracks import split_tracks
from musicemo.messages import collected
from musicemo.running.analyses import analyse_evaluations
from musicemo.running.execute import Outcome, tag_thresholds
from musicemo.running.launching import Failure, InProgress, attempt
from musicemo.running.prepare import RunOptions, TrackReader
from musicemo.running.protocol import describe_conformity
from musicemo.runs import RunRecord, claim_run, describe_environment, fingerprint, open_run, version_of

__all__ = ["EnsembleRuns", "find_ensembles"]

#: Identity of an experiment, seed and fold of a run.
Key = tuple[int, int, int | None]

#: Keys of a resolved experiment that do not describe its result.
_LEFT_OUT = ("name", "description", "plugins", "transfer")


@dataclass(frozen=True)
class EnsembleRuns:
    """The replicates of an ensemble. Each is the mean of the members' runs with the same fold.

    If the seeds are not averaged, it is the mean of those with the same fold and seed.
    """

    ensemble: Ensemble
    members: Sequence[Experiment]
    #: The first member with the name and the seeds of the ensemble: its results are named and evaluated by it.
    experiment: Experiment

    @classmethod
    def of(cls, ensemble: Ensemble, members: Sequence[Experiment]) -> EnsembleRuns:
        """Return the replicates of an ensemble.

        Raises:
            InputError: the members have different tasks, or are not split in the same manner.
        """
        first = members[0]
        for other in members[1:]:
            for key, value, another in (
                ("split.method", first.split.method, other.split.method),
                ("split.folds", _folds(first), _folds(other)),
                ("tasks", ", ".join(sorted(first.tasks)), ", ".join(sorted(other.tasks))),
            ):
                if value != another:
                    raise InputError(
                        ensemble.source.error(
                            ("ensemble",),
                            f"the members must have the same {key}, not {value} ({first.name}) and {another} "
                            f"({other.name})",
                        )
                    )
        source = first.source.copy()
        source.table |= {"name": ensemble.name, "description": ensemble.description}
        source.variant.clear()
        experiment = replace(
            first,
            name=ensemble.name,
            description=ensemble.description,
            seeds=first.seeds[:1] if ensemble.over_seeds else first.seeds,
            source=source,
            ensemble=None,
            protocol=first.protocol if all(one.protocol for one in members) else None,
        )
        return cls(ensemble, members, experiment)

    @property
    def replicates(self) -> list[Replicate]:
        """A replicate for each fold that a member has, and for each seed unless the seeds are averaged."""
        folds = list(dict.fromkeys(one.fold for member in self.members for one in member.replicates()))
        return [Replicate.of(self.experiment, seed, fold) for seed in self.experiment.seeds for fold in folds]

    def run(
        self,
        results: Mapping[Key, Outcome | Failure | InProgress],
        runs: Path,
        hooks: Hooks,
        options: RunOptions,
        reader: TrackReader,
    ) -> Iterator[tuple[Replicate, Outcome | Failure | InProgress]]:
        """Average, evaluate and record each replicate, and yield it with its outcome.

        Args:
            results: the results of the members' runs.
            runs: the folder of run directories.
            hooks: the lifecycle plugins.
            options: device, resuming and so on.
            reader: reads the tracks.
        """
        for replicate in self.replicates:
            members = [
                one
                for member in self.members
                for one in member.replicates()
                if one.fold == replicate.fold and (self.ensemble.over_seeds or one.seed == replicate.seed)
            ]
            of_members = [results[id(one.experiment), one.seed, one.fold] for one in members]
            failed = [
                (one, result)
                for one, result in zip(members, of_members, strict=True)
                if isinstance(result, Failure)
            ]
            finished = [result for result in of_members if isinstance(result, Outcome)]
            if failed:
                text = f"{len(failed)} of {len(members)} runs of its members failed, for example {failed[0][0]}"
                kind = InputError if all(isinstance(one.error, InputError) for _, one in failed) else RunError
                yield replicate, Failure(kind(f"is not computed: {text}"))
            elif len(finished) < len(members):
                yield replicate, InProgress("some of its members are in progress in other processes")
            else:
                directories = [one.directory for one in finished]
                folder = runs / self.experiment.name
                yield (
                    replicate,
                    attempt(folder, self._execute, replicate, directories, runs, hooks, options, reader),
                )

    def _execute(
        self,
        replicate: Replicate,
        directories: Sequence[Path],
        runs: Path,
        hooks: Hooks,
        options: RunOptions,
        reader: TrackReader,
    ) -> Outcome:
        records = [open_run(path) for path in directories]
        names = [record.name for record in records]
        weights = [self.ensemble.members[name] / names.count(name) for name in names]
        with self.ensemble.source.blaming("ensemble"):
            sets, shared = _sets(records)
        seed, fold = replicate.seed, replicate.fold
        recorded = [record.results.get("identity") or {} for record in records]
        prints = [record.results.get("fingerprint") for record in records]
        identity: dict[str, str | None] = {
            "experiment": _hash(list(zip(prints, weights, strict=True))),
            **{name: _joined([one.get(name) for one in recorded]) for name in ("tasks", "labels", "features")},
            "split": sets["hash"]["all"],
            "transfer": None,
        }
        versions = {(version_of(record), self.ensemble.members[record.name]) for record in records}
        head = {
            "name": self.experiment.name,
            "seed": seed,
            "fold": fold,
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "ensemble": {
                "version": _hash(sorted(versions)),
                "members": [
                    {
                        "name": record.name,
                        "seed": record.seed,
                        "run": Path(os.path.relpath(record.directory, runs)).as_posix(),
                        "weight": weight,
                    }
                    for record, weight in zip(records, weights, strict=True)
                ],
            },
        }
        label = f"seed{seed}" + ("" if fold is None else f"-fold{fold}")
        claim = claim_run(runs, self.experiment.name, label, head, resume=options.resume is not False)
        if isinstance(claim, RunRecord):
            return Outcome(seed, fold, claim.directory, claim.results, skipped=True)
        with claim.directory, collected() as messages:
            started = {"status": "running", "started": claim.results["started"], **head}
            try:
                environment = describe_environment(torch.device("cpu"), options.command)
                environment |= {"lifecycle_plugins": hooks.names, "started": claim.results["started"]}
                text = toml.write(self._describe(records, claim.directory.path))
                claim.directory.write_start(text, environment, sets)
                evaluations, results = self._evaluate(replicate, records, weights, shared, reader)
                claim.directory.write_predictions(evaluations)
                results = started | results | {"split": sets["hash"], "warnings": messages.texts}
                hooks("ensemble_finished", directory=claim.directory.path, results=copy.deepcopy(results))
                claim.directory.write_results(results)
            except BaseException as error:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                claim.directory.write_results(started | {"status": status, "error": str(error)})
                raise
        return Outcome(seed, fold, claim.directory.path, results)

    def _evaluate(
        self,
        replicate: Replicate,
        records: Sequence[RunRecord],
        weights: Sequence[float],
        shared: Sequence[str],
        reader: TrackReader,
    ) -> tuple[dict[str, Evaluation], dict[str, Any]]:
        """Return the evaluation on each shared set, and the keys of `results.json` that follow from them."""
        began = time.monotonic()
        with self.ensemble.source.blaming("ensemble"):
            evaluations = {
                part: average_evaluations(
                    [one.evaluations_with_probabilities[part] for one in records], weights
                )
                for part in shared
            }
        first, settings = self.members[0], self.experiment.evaluation
        tracks = reader.read(first).tracks
        split = split_tracks(first.completed(tracks), tracks, replicate.fold)
        results: dict[str, Any] = {
            "tasks": {
                name: {key: value for key, value in task.items() if key != "distribution"}
                for name, task in records[0].tasks.items()
            }
        }
        if any(task.kind == "tags" for task in tracks.tasks):
            results["thresholds"] = tag_thresholds(tracks.tasks, evaluations.get("val"))
            limits = {name: one["values"] for name, one in results["thresholds"].items()}
            evaluations = {part: evaluation.decided(limits) for part, evaluation in evaluations.items()}
        if protocol := describe_conformity(self.experiment, tracks, split, replicate.fold, None):
            results["protocol"] = protocol
            if (dataset := protocol.get("dataset")) and "test" in evaluations:
                protocol["scores"] = evaluations["test"].of_dataset(dataset).to_json(settings)
        results |= analyse_evaluations(tracks, split, evaluations, settings)
        results |= {
            "status": "done",
            "parameters": sum(record.results.get("parameters") or 0 for record in records),
            "metrics": {
                part: evaluation.to_json(settings, intervals=part != "train")
                for part, evaluation in evaluations.items()
            },
            "durations": {
                "training": sum(record.results["durations"]["training"] for record in records),
                "evaluation": time.monotonic() - began,
            },
        }
        return evaluations, results

    def _describe(self, records: Sequence[RunRecord], directory: Path) -> dict[str, Any]:
        """Return `experiment.toml`: the settings that all members have in common, and the files of the members."""
        settings = [
            {name: value for name, value in record.read_experiment().items() if name not in _LEFT_OUT}
            for record in records
        ]
        files = [Path(os.path.relpath(record.directory / "experiment.toml", directory)) for record in records]
        weights = dict(self.ensemble.settings.weights)
        return {
            "name": self.ensemble.name,
            **({"description": self.ensemble.description} if self.ensemble.description else {}),
            **_in_common(settings),
            "ensemble": {
                "members": [file.as_posix() for file in files],
                **({"weights": weights} if weights else {}),
            },
        }


def find_ensembles(experiments: Sequence[Experiment]) -> list[EnsembleRuns]:
    """Return each ensemble whose members are all among some experiments.

    Raises:
        InputError: the members of one have different tasks, or are not split in the same manner.
    """
    members: dict[tuple[Path, str], list[Experiment]] = {}
    for one in experiments:
        if one.ensemble is not None:
            members.setdefault((one.ensemble.source.file.resolve(), one.ensemble.name), []).append(one)
    return [
        EnsembleRuns.of(ensemble, some)
        for some in members.values()
        if (ensemble := some[0].ensemble) and {one.name for one in some} == set(ensemble.members)
    ]


def _folds(experiment: Experiment) -> str:
    split = experiment.split
    return f"{split.repeats} times {split.folds} folds" if split.method == "kfold" else "one split"


def _sets(records: Sequence[RunRecord]) -> tuple[dict[str, Any], list[str]]:
    """Return the content of `split.json`, and the sets that all members have in common.

    The training set has all tracks that a member was trained on, the validation set those that another one selected its
    epoch on.

    Raises:
        InputError: the members have different test sets, or a test track is in the training set of a member.
    """
    first, held_out = records[0], "test"
    hashes = [record.results.get("split") or {} for record in records]
    if not any(record.metrics.get("test") for record in records):
        held_out = "val"
    for record, other in zip(records[1:], hashes[1:], strict=True):
        if other.get(held_out) != hashes[0].get(held_out):
            raise InputError(
                f"the members have different {held_out} sets ({first.name} and {record.name}), so a track that one is "
                "tested on may be a training track of another. Use the same [split] for all members"
            )
    ids: dict[str, dict[str, None]] = {part: {} for part in PARTS}
    for record in records:
        for part in PARTS:
            ids[part] |= dict.fromkeys(record.split.get(part) or ())
    tested = ids[held_out]
    for record in records:
        seen = [
            part for part in PARTS if part != held_out and tested.keys() & set(record.split.get(part) or ())
        ]
        if seen or not record.split.get("train"):
            raise InputError(f"{record.directory / 'split.json'}: its sets are missing, or share tracks")
    lists = {
        "train": list(ids["train"]),
        "val": [name for name in ids["val"] if name not in ids["train"]],
        "test": list(ids["test"]),
    }
    parts = {part: hash_ids(names) for part, names in lists.items()}
    every = {one.get("all") for one in hashes}
    total = hashes[0]["all"] if len(every) == 1 and hashes[0].get("all") else _hash(list(parts.values()))
    shared = [
        part
        for part in PARTS
        if all(record.metrics.get(part) for record in records) and len({one.get(part) for one in hashes}) == 1
    ]
    return {"hash": {**parts, "all": total}, **lists}, shared


def _in_common(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys that have the same value in all tables; a component of another type shares none."""
    first = tables[0]
    if any(table.get("type") != first.get("type") for table in tables):
        return {}
    common: dict[str, Any] = {}
    for name, value in first.items():
        values = [table.get(name) for table in tables]
        if all(isinstance(one, Mapping) for one in values):
            if (inner := _in_common(values)) or not value:  # type: ignore[arg-type]  # all are tables
                common[name] = inner
        elif all(one == value for one in values):
            common[name] = value
    return common


def _joined(hashes: Sequence[str | None]) -> str | None:
    """Return the hash that all members have, or a hash of theirs."""
    return hashes[0] if len(set(hashes)) == 1 else _hash(list(hashes))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
