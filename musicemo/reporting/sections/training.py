"""Charts of the quantities recorded over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from musicemo.evaluation import TITLES
from musicemo.reporting.blocks import Block, Cell, Charts, Number, Section, Table
from musicemo.reporting.charts import Axis, Chart, Line, Mark, Points, Rule, spanning
from musicemo.reporting.charts.chart import COLOURS
from musicemo.reporting.sections.scores import leading
from musicemo.runs import RunRecord

__all__ = ["curves", "layers_section", "training_section", "weights_section"]

_SETS = {"train": ("training", 1, True), "val": ("validation", 0, False)}
"""Set -> its name, color and whether its line is dashed."""

_NOT_WEIGHTS = ("train", "val", "gradient", "layer")


def training_section(runs: Sequence[RunRecord]) -> Section:
    """Return the section on losses, scores and optimization over the epochs."""
    begun = [run for run in runs if run.history and not run.fitted]
    tasks = runs[0].tasks
    groups = [
        Charts(_losses(begun, tasks), "Loss"),
        Charts(_scores(begun, tasks), "Score"),
        Charts(_optimization(begun), "Optimization"),
    ]
    return Section("Training", [group for group in groups if group.charts])


def weights_section(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the weights of the tasks over the epochs."""
    tasks = list(runs[0].tasks)
    begun = [run for run in runs if run.history and not run.fitted]
    charts = list(_weights(begun, tasks)) if len(tasks) > 1 else []
    return Section("Weights of the tasks", [Charts(charts)] if charts else [])


def layers_section(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the weights of the features' outputs in the sum that a network learned."""
    trained = [run for run in runs if run.results.get("layers")]
    blocks: list[Block] = []
    for stream, weights in trained[0].results["layers"].items() if trained else ():
        outputs = list(weights)
        values = [[run.results["layers"].get(stream, {}).get(output) for run in trained] for output in outputs]
        rows: list[list[Cell]] = [
            [output, *(Number(value) for value in of_runs)]
            for output, of_runs in zip(outputs, values, strict=True)
        ]
        heads = [f"seed {run.seed}" for run in trained] if len(trained) > 1 else ["weight"]
        blocks.append(Table(["output", *heads], rows, f"Weights of the outputs of {stream} in the best epoch"))
        keys = {f"layer/{stream}/{output}": output for output in outputs}
        blocks.append(Charts([curves(trained, keys, stream, label="weight")]))
    return Section("Layers of the features", blocks)


def _losses(runs: Sequence[RunRecord], tasks: Mapping[str, Mapping[str, str]]) -> list[Chart]:
    """Return the loss of all tasks, and of each, over the epochs."""
    charts = [] if len(tasks) == 1 else [_parts(runs, "loss", "all tasks", "loss", log=True)]
    charts += [_parts(runs, f"{name}/loss", name, "loss", log=True) for name in tasks]
    return [chart for chart in charts if chart.marks]


def _scores(runs: Sequence[RunRecord], tasks: Mapping[str, Mapping[str, str]]) -> list[Chart]:
    """Return each task's leading metric over the epochs."""
    charts = []
    for name, task in tasks.items():
        metric = leading(task["kind"])
        charts.append(_parts(runs, f"{name}/{metric}", name, TITLES[metric]))
    return [chart for chart in charts if chart.marks]


def _optimization(runs: Sequence[RunRecord]) -> list[Chart]:
    """Return the learning rate, where it changes, the objective and the gradients' norm over the epochs."""
    keys = {
        "train/objective": "objective",
        "train/gradient_norm": "gradient norm",
        "learning_rate": "learning rate",
    }
    charts = []
    for key, title in keys.items():
        values = {record.get(key) for run in runs for record in run.history}
        if values - {None} and (key != "learning_rate" or len(values) > 1):
            charts.append(curves(runs, {key: ""}, title, log=True))
    return charts


def _weights(runs: Sequence[RunRecord], tasks: Sequence[str]) -> Iterator[Chart]:
    """Yield a chart for each quantity that the weighting recorded per task, the weight first."""
    recorded = {key: None for run in runs for record in run.history[:1] for key in record}
    quantities: dict[str, dict[str, str]] = {}
    for key in recorded:
        quantity, _, task = key.rpartition("/")
        if quantity and quantity.split("/")[0] not in _NOT_WEIGHTS and task in tasks:
            quantities.setdefault(quantity, {})[key] = task
    for quantity, keys in sorted(quantities.items(), key=lambda item: item[0] != "weight"):
        yield curves(runs, keys, quantity.replace("_", " "), log=quantity == "weight")


def curves(
    runs: Sequence[RunRecord], keys: Mapping[str, str], title: str, *, label: str = "", log: bool = False
) -> Chart:
    """Return the lines of some recorded quantities.

    Args:
        runs: Replicates; several have one thin line each.
        keys: recorded quantity -> name of its line.
        title: Title of the chart.
        label: Label of the vertical axis.
        log: Whether the vertical axis may be logarithmic.
    """
    styles = {
        key: (name, number % COLOURS, number // COLOURS % 2 == 1)
        for number, (key, name) in enumerate(keys.items())
    }
    return _chart(runs, styles, title, label, log)


def _parts(runs: Sequence[RunRecord], quantity: str, title: str, label: str, *, log: bool = False) -> Chart:
    styles = {f"{part}/{quantity}": style for part, style in _SETS.items()}
    return _chart(runs, styles, title, label, log, best=f"val/{quantity}")


def _chart(
    runs: Sequence[RunRecord],
    styles: Mapping[str, tuple[str, int, bool]],
    title: str,
    label: str,
    log: bool,
    best: str = "",
) -> Chart:
    marks: list[Mark] = []
    values: list[float | None] = []
    if len(runs) == 1 and (epoch := runs[0].results.get("best_epoch")):
        marks.append(Rule(epoch, label=f"best: {epoch}"))
    for run in runs:
        epochs = [record["epoch"] for record in run.history]
        for key, (name, colour, dashed) in styles.items():
            line = [record.get(key) for record in run.history]
            if any(value is not None for value in line):
                values += line
                marks.append(Line(epochs, line, name, colour, dashed, faint=len(runs) > 1))
    if not values:
        return Chart(title, Axis(0, 1), Axis(0, 1), [])
    dots = [(run.results.get("best_epoch"), run) for run in runs]
    best_points = [(epoch, _at(run, epoch, best)) for epoch, run in dots if epoch and best]
    if best_points:
        marks.append(Points([x for x, _ in best_points], [y for _, y in best_points], "best epoch", 0))
    last = max((run.history[-1]["epoch"] for run in runs if run.history), default=1)
    names = ", ".join(name for name, _, _ in styles.values() if name)
    return Chart(
        title=title,
        x=Axis(1, max(last, 2), "epoch", whole=True),
        y=spanning(values, label, log=log),
        marks=marks,
        description=f"{label or title} of {title} over {last} epochs" + (f": {names}" if names else ""),
    )


def _at(run: RunRecord, epoch: int, key: str) -> float | None:
    look: Callable[[Mapping[str, float]], bool] = lambda record: record["epoch"] == epoch  # noqa: E731
    return next((record.get(key) for record in run.history if look(record)), None)
