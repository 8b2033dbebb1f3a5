"""Generate the reference pages from the code, for mkdocs: components, commands, the experiment file."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from musicemo import toml
from musicemo.cli._app import make_app
from musicemo.components import registry
from musicemo.components.documentation import sections, summary
from musicemo.components.hooks import opt_in
from musicemo.contracts import PROVIDED
from musicemo.data import JoiningSettings
from musicemo.experiment.json_schema import component_schema, experiment_schema, in_words

Json = dict[str, Any]

_PLURALS = {
    "dataset": "datasets",
    "features": "extractors",
    "augmentation": "augmentations",
    "model": "models",
    "sharing": "sharings",
    "loss": "losses",
    "weighting": "weightings",
    "launcher": "launchers",
}
_LEADS = {
    "dataset": "Values of `[dataset] type`. [Datasets](../datasets.md) describes layouts, sources and licenses.",
    "features": "Values of `[features] type`. [Features](../features.md) compares them.",
    "augmentation": "Values of `type` in `[[augment]]`. Each also has `probability` and `tasks`; see "
    "[Augmentation](../augmentation.md).",
    "model": "Values of `[model] type`. A model maps `x` `[batch, time, feature]` to an embedding, or is fitted in one "
    "go. [Models](../models.md) compares them.",
    "sharing": "Values of `[sharing] type`. [Sharing](../sharing.md) compares them.",
    "loss": "Values of `type` in a task's `loss`. Each term also has a `weight`.",
    "weighting": "Values of `[weighting] type`. [Task weighting](../weightings.md) compares them.",
    "launcher": "Values of `[launcher] type`. [Run many experiments](../scaling.md) has examples.",
}
_API = {
    "contracts": "Interfaces of components. [Your own model as a plugin](../tutorials/own-model.md) has an example.",
    "ops": "Building blocks of losses and models. [Soft ranks](../soft-ranks.md) explains the ranks, [Write "
    "plugins](../plugins.md#a-model) the modules for padded batches.",
    "features": "Features of songs. [Extract features](../extraction.md) describes the command line and the recipe.",
    "testing": "Tests for plugin authors. [Write plugins](../plugins.md#test-them) has an example.",
    "tracking": "Base class of trackers. [Track runs](../trackers.md#write-a-tracker) has an example.",
    "prediction": "Predict songs, evaluate and export trained runs. [Predict, evaluate and "
    "export](../prediction.md) describes the commands.",
}


_READ_RUNS = """## Read it in Python

```python
from pathlib import Path

from musicemo.runs import open_replicates

for record in open_replicates(Path("runs/multitask")):  # the finished seeds and folds; open_run opens a single run
    print(record.seed, record.metrics["test"]["valence"]["spearman"]["value"])
```

::: musicemo.runs
    options:
      show_root_heading: false
      show_root_toc_entry: false
      members: [open_run, open_runs, open_replicates, find_replicates, RunRecord]
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    schema = experiment_schema()
    pages = {f"{plural}.md": _components(kind) for kind, plural in _PLURALS.items()}
    pages |= {f"{name}.md": _api(name) for name in _API}
    pages["plugins.md"] = _plugins()
    pages["hooks.md"] = _hooks()
    pages["commands.md"] = _commands()
    pages["experiment-file.md"] = _experiment_file(schema)
    pages["run-directory.md"] = _run_directory(Path(config.docs_dir))
    pages["experiment.schema.json"] = json.dumps(schema, indent=1)
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}", content=content))
    return files


def _components(kind: str) -> str:
    names = [claim.name for claim in registry.claims(kind) if claim.distribution == "musicemo"]
    lines = [f"# {_PLURALS[kind].capitalize()}", "", _LEADS[kind], ""]
    for name in names:
        lines += _component(kind, name)
    return "\n".join(lines)


def _component(kind: str, name: str) -> Iterator[str]:
    component = registry.load(kind, name)
    schema = component_schema(kind, name, component)
    docstring = sections(component)
    yield from (f"## {name}", "", _markdown(docstring[""]), "")
    keys = {key: entry for key, entry in schema["properties"].items() if key != "type"}
    if keys:
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        for key, entry in keys.items():
            default = "required" if key in schema["required"] else _default(entry)
            kind_ = _cell(in_words(entry, schema.get("$defs", {})))
            yield f"| `{key}` | {kind_} | {default} | {_cell(_markdown(entry.get('description', '')))} |"
        yield ""
    required = "".join(f"\n{key} = ..." for key in keys if key in schema["required"])
    heads = {"loss": f'loss = {{ type = "{name}" }}', "plugin": f"[plugins.{name}]{required}"}
    heads["augmentation"] = f'[[augment]]\ntype = "{name}"{required}'
    written = heads.get(kind, f'[{kind}]\ntype = "{name}"{required}')
    yield from ("```text", written, "```", "")
    if raised := docstring.get("Raises"):
        yield from (
            "Errors: " + _markdown(re.sub(r"^(InputError|RunError): ", "", " ".join(raised.split()))),
            "",
        )
    yield from (f"Class `{component.__module__}.{component.__qualname__}`.", "")


def _plugins() -> str:
    lines = [
        "# Plugins",
        "",
        "Lifecycle plugins. Each implements [hooks](hooks.md). The keys are those of `[plugins.NAME]`, which also has "
        "`enabled`.",
        "",
    ]
    for claim in registry.claims("plugin"):
        if claim.distribution == "musicemo":
            component = registry.load("plugin", claim.name)
            hooks = ", ".join(f"`{name}`" for name in dir(component) if name.startswith("musicemo_"))
            when = "Active in experiments with its table" if opt_in(component) else "Active by default"
            lines += [*_component("plugin", claim.name), f"{when}. Implements {hooks}.", ""]
    return "\n".join(lines)


#: Members of a run that hooks may use; the trainer uses the others.
_RUN = [
    *(
        "directory",
        "name",
        "label",
        "seed",
        "settings",
        "toml",
        "history",
        "epochs",
        "seconds",
        "stop",
        "stopped",
    ),
    *("tracks", "split", "features", "tasks", "network", "weighting", "device", "stopping", "transfer"),
]


def _hooks() -> str:
    from musicemo.hookspecs import Hookspecs

    lead = sections(inspect.getmodule(Hookspecs))[""]
    lines = ["# Hooks", "", _markdown(lead), "", summary(Hookspecs), ""]
    for name, function in vars(Hookspecs).items():
        if name.startswith("musicemo_"):
            parameters = [
                str(one) for one in inspect.signature(function).parameters.values() if one.name != "self"
            ]
            heading = f"## {name}"
            signature = f"def {name}({', '.join(['self', *parameters])}) -> None: ..."
            lines += [
                heading,
                "",
                "```python",
                "@hookimpl",
                signature,
                "```",
                "",
                _markdown(sections(function)[""]),
                "",
            ]
    members = ", ".join(_RUN)
    lines += [
        "## The run",
        "",
        "The argument `run` of the hooks.",
        "",
        "::: musicemo.training.Run",
        "    options:",
    ]
    return "\n".join([*lines, f"      members: [{members}]", ""])


def _commands() -> str:
    group: Any = typer.main.get_command(make_app())
    lines = ["# Commands", "", "This page is the output of `musicemo COMMAND --help`.", ""]
    for name, command in group.commands.items():
        lines += _command(f"musicemo {name}", command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## {name}", "", "```text", f"{name} {usage}".strip(), "```", "")
    yield from (_markdown(inspect.cleandoc(command.help or "")), "")
    rows = []
    for parameter in command.params:
        if record := _record(parameter, context):
            rows.append("| {} | {} |".format(*record))
    if rows:
        yield from ("| argument or option | meaning |", "|---|---|", *rows, "")
    for inner, subcommand in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {inner}", subcommand)


def _record(parameter: Any, context: Any) -> tuple[str, str] | None:
    """Return the form of an argument or option, and its help; None if it is hidden."""
    record = parameter.get_help_record(context)
    return (f"`{re.sub(' <.*>', '', record[0])}`", _cell(record[1])) if record else None


def _experiment_file(schema: Json) -> str:
    definitions = schema["$defs"]
    lines = [
        "# Experiment files",
        "",
        "All keys of an experiment file. [Write experiment files](../experiments.md) explains them. "
        "[experiment.schema.json](experiment.schema.json) is the JSON Schema that `musicemo schema` prints, with the "
        "built-in components.",
        "",
        *_keys("The file", schema, definitions),
    ]
    for name, entry in schema["properties"].items():
        table = definitions.get(entry.get("$ref", "").rpartition("/")[2])
        if table and "properties" in table:
            lines += _keys(f"[{name}]", table, definitions)
    lines += _keys("[search]", definitions["_Search"], definitions)
    lines += _keys("[search.space], a range", definitions["RangeSettings"], definitions)
    lines += _keys("[[dataset]], additional keys", JoiningSettings.model_json_schema(), definitions)
    lines += _keys("[[dataset]] split", definitions["DatasetSplitSettings"], definitions)
    lines += _keys("[tasks.NAME]", definitions["TaskSettings"], definitions)
    training = definitions["TrainingSettings"]["properties"]
    unions = {f"training.{name}": training[name] for name in ("optimizer", "schedule", "average")}
    for name, entry in (unions | {"pretraining": schema["properties"]["pretraining"]}).items():
        union = next(one for one in entry.get("anyOf", [entry]) if "discriminator" in one)
        for kind, place in union["discriminator"]["mapping"].items():
            table = definitions[place.rpartition("/")[2]]
            lines += _keys(f'{name}, type = "{kind}"', table, definitions)
    lines += _keys("training.early_stopping", definitions["EarlyStoppingSettings"], definitions)
    return "\n".join(lines)


def _keys(title: str, table: Json, definitions: Json) -> Iterator[str]:
    yield from (f"## {title}", "", _markdown(table.get("description", "")), "")
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for key, entry in table["properties"].items():
        if key != "type":
            kind = _cell(_kind(entry, definitions))
            yield f"| `{key}` | {kind} | {_default(entry)} | {_cell(_markdown(entry.get('description', '')))} |"
    yield ""


def _kind(entry: Json, definitions: Json) -> str:
    place = entry.get("$ref", "").rpartition("/")[2]
    if place or "oneOf" in entry or "discriminator" in entry:
        return "component" if place in PROVIDED else "table"
    return re.sub(r"\banything\b", "table", in_words(entry, definitions))


def _run_directory(docs: Path) -> str:
    text = (docs / "experiments.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## What a run leaves behind\n")
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    if not section:
        raise ValueError("docs/experiments.md has no section 'What a run leaves behind'")
    section = re.sub(r"\]\((?=\w[\w/-]*\.md)", "](../", section)
    return f"# The run directory\n{section}\n{_READ_RUNS}"


def _api(name: str) -> str:
    return f"# musicemo.{name}\n\n{_API[name]}\n\n::: musicemo.{name}\n    options:\n      show_root_heading: false\n"


def _default(entry: Json) -> str:
    if entry.get("default") is None:
        return ""
    default = entry["default"]
    return "" if isinstance(default, dict) else f"`{_cell(toml.inline(default))}`"


def _markdown(text: str) -> str:
    """Return a docstring as Markdown: literal blocks fenced, double backticks single."""
    text = re.sub(
        r"::\n\n((?:    .*\n|\n)+)", lambda block: f":\n\n```text\n{_dedent(block[1])}\n```\n\n", text + "\n"
    )
    return (
        text.replace("``", "`").replace("`\u0060text", "```text").strip() if "```" not in text else text.strip()
    )


def _dedent(text: str) -> str:
    return inspect.cleandoc(text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
