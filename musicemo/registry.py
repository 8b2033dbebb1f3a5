"""Names to components, from entry points: listing reads metadata alone, loading happens on first use."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from musicemo import hookspecs
from musicemo.errors import InputError, MusicemoError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["GROUPS", "Claim", "Hooks", "claims", "entry_points", "load", "load_hooks", "schema", "validate"]

#: Kind of component -> entry-point group.
GROUPS = {
    "dataset": "musicemo.datasets",
    "model": "musicemo.models",
    "loss": "musicemo.losses",
    "weighting": "musicemo.weightings",
    "plugin": "musicemo.plugins",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One distribution's claim of a name."""

    kind: str
    name: str
    distribution: str
    version: str
    entry_point: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point.value})"


@functools.cache
def entry_points(group: str) -> importlib.metadata.EntryPoints:
    """Return the installed entry points of a group, read once a process."""
    return importlib.metadata.entry_points(group=group)


def claims(kind: str) -> list[Claim]:
    """Return every claim of the kind, sorted by name; nothing is imported."""
    found = {
        Claim(
            kind,
            point.name,
            point.dist.name if point.dist else "unknown",
            point.dist.version if point.dist else "",
            point,
        )
        for point in entry_points(GROUPS[kind])
    }
    return sorted(found, key=lambda claim: (claim.name, str(claim)))


def load(kind: str, name: str) -> Any:
    """Import the component of that name.

    Raises:
        InputError: nobody claims the name, several do, or the claimant cannot be imported.
    """
    everyone = claims(kind)
    claimants = [claim for claim in everyone if claim.name == name]
    if not claimants:
        choices = sorted({claim.name for claim in everyone})
        listed = ", ".join(choices) or "none installed"
        raise InputError(f"no {kind} is called {name!r}{nearest(name, choices)} (installed: {listed})")
    if len(claimants) > 1:
        both = " and ".join(str(claim) for claim in claimants)
        raise InputError(f"{kind} {name!r} is claimed more than once, by {both}; uninstall all but one")
    return _import(claimants[0])


def _import(claim: Claim) -> Any:
    try:
        return claim.entry_point.load()
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything at import
        raise InputError(
            f"{claim.kind} {claim.name!r} of {claim} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def schema(component: Any, provided: Mapping[str, str] | None = None) -> type[BaseModel]:
    """Return the pydantic model of a component's TOML table: its constructor's signature.

    Args:
        component: the class, or a function that makes one.
        provided: names of parameters that the core fills in, which are no keys.

    Raises:
        InputError: an annotation that cannot be resolved, or that pydantic cannot check.
    """
    name = getattr(component, "__name__", type(component).__name__)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return _schema(component, name, provided or {})
    except Exception as error:  # whatever a stranger's annotation raises when it is evaluated
        raise InputError(
            f"the parameters of {getattr(component, '__module__', '?')}.{name} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _schema(component: Any, name: str, provided: Mapping[str, str]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    callable_ = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(callable_, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in provided:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    return create_model(name, __config__=config, **fields)


def validate(model: type[BaseModel], table: Mapping[str, Any]) -> BaseModel:
    """Validate a TOML table strictly, with TOML's own idea of types: text may be a path, an array a tuple.

    Raises:
        pydantic.ValidationError: with every error.
    """
    return model.model_validate_json(json.dumps(table, default=str))


class Hooks:
    """The loaded lifecycle plugins, called one by one so that a broken one takes nothing down.

    A plugin that raises is reported and left out from then on; `MusicemoError` and `KeyboardInterrupt` pass,
    since they are meant for the user.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("musicemo")
        self.manager.add_hookspecs(hookspecs.Hookspecs)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin; a class is made without arguments; a misspelt hook is an `InputError`."""
        plugin = plugin() if inspect.isclass(plugin) else plugin
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            known = sorted(hook for hook in vars(hookspecs.Hookspecs) if hook.startswith("musicemo_"))
            raise InputError(f"plugin {name!r}: {error} (hooks: {', '.join(known)})") from error
        for caller in self.manager.get_hookcallers(self.manager.get_plugin(name)) or ():
            if any(
                hook.plugin_name == name and (hook.wrapper or hook.hookwrapper)
                for hook in caller.get_hookimpls()
            ):
                self.manager.unregister(name=name)
                raise InputError(
                    f"plugin {name!r}: {caller.name} is a hook wrapper, which musicemo does not call"
                )

    def __call__(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every plugin that implements it, the last registered first."""
        caller: pluggy.HookCaller = getattr(self.manager.hook, f"musicemo_{hook}")
        for implementation in reversed(caller.get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except MusicemoError:
                raise
            except Exception as error:
                self.manager.unregister(implementation.plugin)
                warnings.warn(
                    f"plugin {implementation.plugin_name!r} failed in {hook} and is left out from now on: "
                    f"{type(error).__name__}: {error}",
                    stacklevel=2,
                )


def load_hooks() -> Hooks:
    """Load every plugin of the group `musicemo.plugins`; one that cannot be loaded is warned of."""
    hooks = Hooks()
    for claim in claims("plugin"):
        try:
            hooks.register(_import(claim), f"{claim.name} of {claim.distribution}")
        except Exception as error:
            reason = error if isinstance(error, MusicemoError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"plugin {claim.name!r} of {claim} is left out: {reason}", stacklevel=2)
    return hooks
