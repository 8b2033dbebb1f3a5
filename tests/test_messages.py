"""Messages to the user: shown once, collected in order."""

import contextlib
import logging
import pickle
import warnings

import pytest
from complaints import any_warnings, warns

from musicemo.messages import collected, muted, replay, shown, withheld

LOG = logging.getLogger("musicemo.data.test")


@contextlib.contextmanager
def unconfigured():
    """Be a program that has not configured logging."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers


@any_warnings()
@pytest.mark.filterwarnings("always")
def test_each_text_is_collected_once_and_in_order():
    with collected(["earlier", "earlier"]) as messages:
        LOG.warning("%d of %d tracks", 1, 2)
        LOG.info("not a warning")
        warnings.warn("of a library", stacklevel=1)
        LOG.warning("1 of 2 tracks")
        LOG.error("earlier")
        logging.getLogger("someone.else").error("an error")
    LOG.warning("afterwards")
    assert messages.texts == ["earlier", "1 of 2 tracks", "of a library", "an error"]
    messages.precede(["first", "an error"])
    assert messages.texts == ["first", "an error", "earlier", "1 of 2 tracks", "of a library"]


def test_a_program_without_logging_sees_each_message_once(capsys):
    with unconfigured(), shown(default=True):
        for _ in range(2):
            with collected():
                LOG.warning("odd \x1b[2J")
    assert capsys.readouterr().err == "warning: odd \\x1b[2J\n"


def test_files_below_the_working_directory_are_shown_with_short_paths(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unconfigured(), shown(default=True), collected() as messages:
        LOG.warning(f"{tmp_path}/runs/a: is strange, unlike {tmp_path.parent}/b")
    assert f"runs/a: is strange, unlike {tmp_path.parent}/b" in " ".join(capsys.readouterr().err.split())
    assert messages.texts == [f"{tmp_path}/runs/a: is strange, unlike {tmp_path.parent}/b"]


def test_a_program_with_logging_sees_the_records_alone(caplog, capsys):
    with warns("odd"), collected() as messages:
        LOG.warning("odd %s", "thing")
    assert [record.name for record in caplog.records] == [LOG.name]
    assert messages.texts == ["odd thing"]
    assert capsys.readouterr().err == ""


def test_messages_are_withheld_and_muted(caplog):
    with collected() as outer:
        with withheld() as inner:
            LOG.warning("inside")
        with muted():
            LOG.warning("nobody hears this")
            warnings.warn("nor this", stacklevel=1)
    assert (outer.texts, inner.texts, caplog.records) == ([], ["inside"], [])


def test_messages_of_another_process_are_shown_once(capsys, monkeypatch):
    with unconfigured(), withheld() as other:
        LOG.warning("%s", object)
        logging.getLogger("someone.else").warning("%d", "no number")
        logging.getLogger("someone.quiet").warning("not of interest")
    monkeypatch.setattr(logging.getLogger("someone.quiet"), "disabled", True)
    sent = pickle.dumps(other.records)
    with unconfigured(), shown():
        for replicate in ("small, seed 0", "small, seed 1"):
            replay(pickle.loads(sent), replicate)  # noqa: S301  # made here
    assert capsys.readouterr().err == ("warning: small, seed 0: <class 'object'>\nwarning: small, seed 0: %d\n")


@pytest.mark.filterwarnings("always")
def test_a_library_may_warn_again_in_the_next_run():
    def warn():
        warnings.warn("of a library", stacklevel=1)

    for _ in range(2):
        with unconfigured(), collected() as messages:
            warn()
        assert messages.texts == ["of a library"]
