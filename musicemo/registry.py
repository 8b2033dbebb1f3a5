"""Names to components, from entry points: listing reads metadata alone, loading happens on first use."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import os
import re
import typing
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from musicemo import __version__, hookspecs
from musicemo.errors import InputError, MusicemoError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "GROUPS",
    "Claim",
    "Hooks",
    "claims",
    "entry_points",
    "load",
    "load_hooks",
    "schema",
    "validate",
    "without",
]

#: Kind of component -> entry-point group.
GROUPS = {
    "dataset": "musicemo.datasets",
    "model": "musicemo.models",
    "loss": "musicemo.losses",
    "weighting": "musicemo.weightings",
    "plugin": "musicemo.plugins",
}

#: The environment variable that names, separated by commas, the components and distributions to be left out.
_DISABLE = "MUSICEMO_DISABLE_PLUGINS"


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

    @property
    def disabled(self) -> bool:
        """Whether its name, or its distribution's, is to be left out."""
        return bool({self.name, _normalized(self.distribution)} & _disabled())

    @property
    def incompatible(self) -> str:
        """Which versions of musicemo its distribution requires, if this one is not among them."""
        requires = getattr(self.entry_point.dist, "requires", None) or ()
        return _other_versions(tuple(text for text in requires if text.startswith("musicemo")))


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _disabled() -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in os.environ.get(_DISABLE, "").split(","))))


@functools.cache
def _other_versions(requirements: Sequence[str]) -> str:
    """Return the requirement of musicemo that this version does not meet, if there is one."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        applies = wanted.name == "musicemo" and (wanted.marker is None or wanted.marker.evaluate({"extra": ""}))
        if applies and not wanted.specifier.contains(__version__, prereleases=True):
            return f"musicemo{wanted.specifier}"
    return ""


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Leave components, plugins or whole distributions of these names out, in child processes too.

    Raises:
        InputError: nothing that is installed has such a name.
    """
    installed = [claim for kind in GROUPS for claim in claims(kind, disabled=True)]
    known = {claim.name for claim in installed} | {_normalized(claim.distribution) for claim in installed}
    if unknown := [name for name in names if _normalized(name) not in known and name not in known]:
        raise InputError(*(f"--without {name}: nothing is called so{nearest(name, known)}" for name in unknown))
    before = os.environ.get(_DISABLE)
    os.environ[_DISABLE] = ",".join([*filter(None, [before]), *names])
    try:
        yield
    finally:
        if before is None:
            del os.environ[_DISABLE]
        else:
            os.environ[_DISABLE] = before


@functools.cache
def entry_points(group: str) -> importlib.metadata.EntryPoints:
    """Return the installed entry points of a group, read once a process."""
    return importlib.metadata.entry_points(group=group)


def claims(kind: str, *, disabled: bool = False) -> list[Claim]:
    """Return every claim of the kind, sorted by name; nothing is imported.

    Args:
        kind: of component.
        disabled: whether to return those too that are to be left out: see `without`.
    """
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
    chosen = [claim for claim in found if disabled or not claim.disabled]
    return sorted(chosen, key=lambda claim: (claim.name, str(claim)))


def load(kind: str, name: str) -> Any:
    """Import the component of that name.

    Raises:
        InputError: nobody claims the name, several do, the claimant is for other versions of musicemo, or it cannot
            be imported.
    """
    everyone = claims(kind)
    claimants = [claim for claim in everyone if claim.name == name]
    if not claimants:
        if left_out := [claim for claim in claims(kind, disabled=True) if claim.name == name]:
            raise InputError(
                f"{kind} {name!r} of {left_out[0]} is left out, by --without or {_DISABLE}={os.environ[_DISABLE]}"
            )
        choices = sorted({claim.name for claim in everyone})
        listed = ", ".join(choices) or "none installed"
        raise InputError(
            f"no {kind} is called {name!r}{nearest(name, choices)} (installed: {listed}); one of a package of its own "
            "comes with pip install PACKAGE"
        )
    if len(claimants) > 1:
        both = " and ".join(str(claim) for claim in claimants)
        raise InputError(
            f"{kind} {name!r} is claimed more than once, by {both}; uninstall all but one, or leave one out with "
            "--without DISTRIBUTION"
        )
    return _import(claimants[0])


def _import(claim: Claim) -> Any:
    if claim.incompatible:
        raise InputError(
            f"{claim.kind} {claim.name!r} of {claim} works with {claim.incompatible}, and this is musicemo "
            f"{__version__}; pip install --upgrade {claim.distribution} may find a version that does with it"
        )
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
