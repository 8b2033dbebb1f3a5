"""The installed lifecycle plugins and calls of their hooks."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pluggy

from musicemo import hookspecs, toml
from musicemo.components.isolation import PluginFailed, contained, loading, undisturbed
from musicemo.components.registry import claims
from musicemo.errors import InputError, MusicemoError
from musicemo.files import to_json
from musicemo.terminal import visible

if TYPE_CHECKING:
    from musicemo.components.spec import Component

__all__ = ["Hooks", "load_hooks", "opt_in"]

_log = logging.getLogger(__name__)


class Hooks:
    """The loaded lifecycle plugins. They are called one by one, so that a broken one does not stop the run.

    A plugin that raises an exception or exits is reported and removed. `MusicemoError` and `KeyboardInterrupt` are
    raised. The working directory and the random states are restored after a hook. A hook may add values to a record
    or to the results, but not change existing ones.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("musicemo")
        self.manager.add_hookspecs(hookspecs.Hookspecs)
        #: Table -> the plugin that was constructed from it, and the plugins that failed; see `of`.
        self._constructed: dict[str, object] = {}
        self._failed: list[object] = []

    def of(self, plugins: Mapping[str, Component], source: toml.Source) -> Hooks:
        """Return the plugins of an experiment: these, except those that it configures or disables, and its own.

        A configured plugin is constructed once for the same settings, so that an object sees all runs with them.

        Args:
            plugins: The tables ``[plugins.NAME]``.
            source: The tables of the experiment, for error messages.

        Raises:
            InputError: A constructor rejects the settings, or the hooks of a plugin are wrong; with its line.
        """
        if not plugins:
            return self
        hooks = Hooks()
        hooks._failed = self._failed
        configured = {component.name for component in plugins.values()}
        for name, plugin in self.manager.list_name_plugin():
            if name.partition(" of ")[0] not in configured:
                hooks.register(plugin, name)
        for name, component in plugins.items():
            if not getattr(component.settings, "enabled", True):
                continue
            key = json.dumps([name, component.to_table(), component.code.sha256 if component.code else None])
            with source.blaming("plugins", name):
                if key not in self._constructed:
                    with undisturbed():
                        self._constructed[key] = component.build()
                if not any(self._constructed[key] is plugin for plugin in self._failed):
                    hooks.register(self._constructed[key], name)
        return hooks

    @property
    def names(self) -> list[str]:
        """The names of the plugins."""
        return sorted(name for name, _ in self.manager.list_name_plugin())

    def _problem(self, plugin: object) -> str:
        """Return the unknown hook or argument of a plugin, with those that exist, or an empty text."""
        names = sorted(hook for hook in vars(hookspecs.Hookspecs) if hook.startswith("musicemo_"))
        for hook in dir(plugin):
            if self.manager.parse_hookimpl_opts(plugin, hook) is None:
                continue
            if hook not in names:
                return f"unknown hook {hook!r} (hooks: {', '.join(names)})"
            allowed = list(inspect.signature(getattr(hookspecs.Hookspecs, hook)).parameters)[1:]
            for argument in inspect.signature(getattr(plugin, hook)).parameters:
                if argument not in [*allowed, *(["self"] if inspect.isclass(plugin) else [])]:
                    return f"{hook} has no argument {argument!r} (arguments: {', '.join(allowed)})"
        return ""

    def register(self, plugin: object, name: str, *, construct: bool = True) -> None:
        """Add a plugin.

        Args:
            plugin: The plugin.
            name: Name in messages.
            construct: Whether to construct a class without arguments. Otherwise its hooks are checked, but cannot be
                called.

        Raises:
            InputError: The constructor fails, a hook is unknown or has unknown arguments, or is a wrapper.
        """
        try:
            with loading():
                plugin = plugin() if construct and inspect.isclass(plugin) else plugin
                self.manager.register(plugin, name)
                self.manager.check_pending()
        except PluginFailed as error:
            if self.manager.has_plugin(name) and self.manager.get_plugin(name) is plugin:
                self.manager.unregister(name=name)
            if not isinstance(error.__cause__, pluggy.PluginValidationError):
                raise InputError(f"plugin {name!r}: {error}") from error
            raise InputError(f"plugin {name!r}: {self._problem(plugin) or error.__cause__}") from error
        for caller in self.manager.get_hookcallers(self.manager.get_plugin(name)) or ():
            if any(
                hook.plugin_name == name and (hook.wrapper or hook.hookwrapper)
                for hook in caller.get_hookimpls()
            ):
                self.manager.unregister(name=name)
                raise InputError(
                    f"plugin {name!r}: {caller.name} is a hook wrapper, which musicemo does not support"
                )

    def __call__(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every plugin that implements it, the last registered first."""
        for _ in self.each(hook, **arguments):
            pass

    def each(self, hook: str, **arguments: Any) -> Iterator[str]:
        """Call a hook of every plugin that implements it, and yield the plugin's name after each call."""
        caller: pluggy.HookCaller = getattr(self.manager.hook, f"musicemo_{hook}")
        starting = hook == "commands"  # before any command, errors of plugins must not stop it
        for implementation in reversed(caller.get_hookimpls()):
            try:
                with loading() if starting else contained():
                    self.call(implementation, arguments)
            except (PluginFailed, MusicemoError) as error:
                if isinstance(error, MusicemoError) and not starting:
                    raise
                self.manager.unregister(implementation.plugin)
                self._failed.append(implementation.plugin)
                _log.warning(
                    f"plugin {implementation.plugin_name!r} failed in {hook} and is ignored from now on: {error}"
                )
            yield implementation.plugin_name

    def call(self, implementation: Any, arguments: Mapping[str, Any]) -> None:
        """Call the hook of one plugin, and check its changes to the record and to the results.

        It gets copies of losses and evaluations, to which nothing may be added.
        """
        run = arguments.get("run")
        values = {
            name: copy.deepcopy(value) if name in ("losses", "evaluation") else value
            for name, value in arguments.items()
            if name in implementation.argnames
        }
        tables: list[tuple[Callable[[Any], Any], dict[str, Any], str]] = [
            (convert, arguments[name], f"the {name}")
            for name, convert in {"record": _to_number, "results": to_json}.items()
            if name in arguments
        ]
        history = getattr(run, "history", None)
        problems: list[str] = []
        try:
            with undisturbed(getattr(run, "network", None)), _checked(tables, history, problems):
                implementation.function(*(values[name] for name in implementation.argnames))
        finally:
            for problem in problems:
                self.complain(f"plugin {implementation.plugin_name!r}: {problem}")

    def complain(self, problem: str) -> None:
        """Report a forbidden change of a plugin, which was undone."""
        _log.warning(problem)


@contextmanager
def _checked(
    tables: list[tuple[Callable[[Any], Any], dict[str, Any], str]],
    history: list[Any] | None,
    problems: list[str],
) -> Iterator[None]:
    """Let a plugin add recordable values to some tables; undo every other change.

    Args:
        tables: Function that converts an added value, the table, and its name, for each table.
        history: List of records, whose length and order are restored.
        problems: The changes that were undone are added to it.
    """
    before = [{key: _copied(key, value) for key, value in table.items()} for _, table, _ in tables]
    records = list(history) if history is not None else None
    try:
        yield
    finally:
        if history is not None and records is not None:
            history[:] = records
        for (convert, table, name), old in zip(tables, before, strict=True):
            problems += [f"{name}: {problem}" for problem in _settle(table, old, convert)]


def _copied(key: str, value: Any) -> Any:
    # Warnings are added to the list while a plugin is called.
    return value if key == "warnings" and isinstance(value, list) else copy.deepcopy(value)


def _settle(table: dict[str, Any], old: Mapping[str, Any], convert: Callable[[Any], Any]) -> Iterator[str]:
    """Convert the values that were added to a table, undo every other change, and yield the problems."""
    for key, value in old.items():
        if key == "warnings" and isinstance(value, list):
            value[:] = map(str, value)
            table[key] = value
        elif key not in table or not _same(table[key], value):
            table[key] = value
            yield f"{key!r} is a key of musicemo and was restored. Add keys with other names"
    for key in [key for key in table if key not in old]:
        value = table.pop(key)
        if not isinstance(key, str) or not key or visible(key) != key:
            yield f"{key!r} was not recorded: a key must be text without control characters"
        elif key in hookspecs.RESERVED and convert is to_json:
            yield f"{key!r} was not recorded: musicemo uses this name. Use another name"
        else:
            try:
                table[key] = convert(value)
            except Exception as error:  # an object of the plugin may raise anything
                yield f"{key!r} was not recorded: {error}"


def _to_number(value: Any) -> float:
    """Return a value as a number that a record can hold."""
    number = to_json(value)
    if number is None:
        return math.nan
    if not isinstance(number, bool | int | float):
        raise TypeError(f"it must be a number (it is of type {type(value).__name__})")
    return float(number)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))


def opt_in(plugin: object) -> bool:
    """Return whether a plugin is active only in experiments with a table ``[plugins.NAME]``.

    This is a class with ``opt_in = True``, or whose constructor has parameters without a default.
    """
    if not inspect.isclass(plugin):
        return False
    try:
        parameters = inspect.signature(plugin).parameters.values()
    except (TypeError, ValueError):
        return bool(getattr(plugin, "opt_in", False))
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return bool(getattr(plugin, "opt_in", False)) or any(
        one.default is one.empty and one.kind not in variadic for one in parameters
    )


def load_hooks() -> Hooks:
    """Load every plugin of the group `musicemo.plugins` that is active without a table in the experiment.

    Warn about each that cannot be loaded.
    """
    hooks = Hooks()
    for claim in claims("plugin"):
        try:
            plugin = claim.load()
            if not opt_in(plugin):
                hooks.register(plugin, f"{claim.name} of {claim.distribution}")
        except MusicemoError as error:
            reason = str(error).removeprefix(f"plugin '{claim.name} of {claim.distribution}': ")
            _log.warning(f"plugin {claim.name!r} of {claim} is ignored: {reason}")
    return hooks
