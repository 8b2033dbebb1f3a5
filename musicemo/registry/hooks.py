"""The installed lifecycle plugins, and the calling of their hooks."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pluggy

from musicemo import hookspecs
from musicemo.errors import InputError, MusicemoError
from musicemo.registry.names import claims

__all__ = ["Hooks", "load_hooks"]


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
            hooks.register(claim.load(), f"{claim.name} of {claim.distribution}")
        except Exception as error:
            reason = error if isinstance(error, MusicemoError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"plugin {claim.name!r} of {claim} is left out: {reason}", stacklevel=2)
    return hooks
