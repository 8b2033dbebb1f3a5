"""Plugins, and the hooks that they implement."""

import warnings

import pytest

from musicemo import registry
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl


class Recorder:
    def __init__(self) -> None:
        self.seen = []

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)

    @hookimpl
    def musicemo_run_failed(self, run, error):
        self.seen.append((run, error))


class Misspelt:
    @hookimpl
    def musicemo_epoch_begun(self, run):
        pass


class WrongArguments:
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        pass

    @hookimpl
    def musicemo_run_started(self, trainer):
        pass


class Broken(Recorder):
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)
        raise ValueError("broken")


def test_hooks_receive_the_arguments_that_they_name():
    hooks, recorder = registry.Hooks(), Recorder()
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    hooks("run_failed", run="run", error="error")
    hooks("run_finished", run=None, results={})
    assert recorder.seen == [3, ("run", "error")]


def test_a_class_is_made_without_arguments():
    hooks = registry.Hooks()
    hooks.register(Recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    assert hooks.manager.get_plugin("recorder").seen == [3]


def test_a_misspelt_hook_is_refused():
    hooks, recorder = registry.Hooks(), Recorder()
    with pytest.raises(
        InputError, match=r"plugin 'wrong': unknown hook 'musicemo_epoch_begun'.*musicemo_epoch_started"
    ):
        hooks.register(Misspelt(), "wrong")
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=1)
    assert recorder.seen == [1]


def test_an_argument_that_a_hook_does_not_have_is_refused():
    hooks = registry.Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrong': .*\n?.*trainer"):
        hooks.register(WrongArguments(), "wrong")
    assert not hooks.manager.get_plugins()
    hooks("epoch_started", run=None, epoch=1)


def test_a_hook_wrapper_is_refused_since_it_would_never_run():
    class Wrapper:
        @hookimpl(wrapper=True)
        def musicemo_run_finished(self):
            yield

    hooks = registry.Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrapper': musicemo_run_finished is a hook wrapper"):
        hooks.register(Wrapper, "wrapper")
    assert not hooks.manager.has_plugin("wrapper")


def test_a_hook_that_raises_is_left_out_and_the_others_go_on():
    hooks = registry.Hooks()
    first, broken, last = Recorder(), Broken(), Recorder()
    for name, plugin in (("first", first), ("broken", broken), ("last", last)):
        hooks.register(plugin, name)
    with pytest.warns(UserWarning, match=r"plugin 'broken' failed in epoch_started .*: ValueError: broken"):
        hooks("epoch_started", run=None, epoch=1)
    hooks("epoch_started", run=None, epoch=2)
    hooks("run_failed", run=0, error=0)
    assert first.seen == last.seen == [1, 2, (0, 0)]
    assert broken.seen == [1]


def test_a_broken_hook_is_left_out_even_where_warnings_are_errors():
    hooks, broken = registry.Hooks(), Broken()
    hooks.register(broken, "broken")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            hooks("epoch_started", run=None, epoch=1)
        hooks("epoch_started", run=None, epoch=2)
    assert broken.seen == [1]


@pytest.mark.parametrize("error", [InputError("theirs"), RunError("theirs"), KeyboardInterrupt()])
def test_what_is_meant_for_the_user_passes(error):
    class Raises:
        @hookimpl
        def musicemo_epoch_started(self, run, epoch):
            raise error

    hooks = registry.Hooks()
    hooks.register(Raises(), "raises")
    with pytest.raises(type(error)):
        hooks("epoch_started", run=None, epoch=1)


def test_hooks_are_called_last_first_and_honour_tryfirst():
    order = []

    def plugin(name, **options):
        class Plugin:
            @hookimpl(**options)
            def musicemo_epoch_started(self):
                order.append(name)

        return Plugin()

    hooks = registry.Hooks()
    hooks.register(plugin("first", tryfirst=True), "first")
    hooks.register(plugin("a"), "a")
    hooks.register(plugin("b"), "b")
    hooks.register(plugin("last", trylast=True), "last")
    hooks("epoch_started", run=None, epoch=1)
    assert order == ["first", "b", "a", "last"]


def test_load_hooks_warns_of_what_cannot_be_loaded_and_goes_on(install):
    class NeedsArguments:
        def __init__(self, path):
            pass

    install("plugin", "good", Recorder)
    install("plugin", "absent", "no_such_module:Plugin", "lost", "1.2")
    install("plugin", "needy", NeedsArguments)
    install("plugin", "misspelt", Misspelt)
    install("plugin", "wrong", WrongArguments)
    with pytest.warns(UserWarning, match="is left out") as caught:
        hooks = registry.load_hooks()
    said = [str(warning.message) for warning in caught]
    assert len(said) == 4
    assert "plugin 'absent' of lost 1.2 (no_such_module:Plugin)" in said[0]
    assert "ModuleNotFoundError" in said[0]
    assert "unknown hook" in said[1]
    assert "TypeError" in said[2]
    assert "trainer" in said[3]
    assert [name for name, _ in hooks.manager.list_name_plugin()] == ["good of fake"]


def test_the_installed_plugins_load():
    hooks = registry.load_hooks()
    assert {"history of musicemo", "progress of musicemo", "tensorboard of musicemo"} <= {
        name for name, _ in hooks.manager.list_name_plugin()
    }
