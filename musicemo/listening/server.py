"""The page's server, on this machine alone."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.listening.analysis import LONGEST, Heard, Listener, Rating
from musicemo.listening.plane import course_chart, default_emotions
from musicemo.listening.songs import Full, Song, SongList
from musicemo.reporting.charts import legend, to_svg
from musicemo.terminal import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["make_app", "serving"]

LARGEST = 200 * 2**20
"""Bytes of an uploaded file, at most."""

_PREFIX = "musicemo-listen-"
"""Beginning of the name of the temporary folder, which the number of the process follows."""

_OFFERED = 50
"""Tracks of the dataset that a search returns, at most."""

_SECURITY = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@contextmanager
def serving(listener: Listener, songs: Sequence[Path], port: int = 0) -> Iterator[str]:
    """Serve the page at 127.0.0.1, and yield its address.

    At the end the server stops, and the folder of the uploaded songs is deleted, as are those of processes that were
    killed.

    Args:
        listener: Analyzes the songs.
        songs: Audio files that the page lists.
        port: The port; 0 is any free one.

    Raises:
        InputError: The port cannot be used, or the packages of the server are not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise InputError(
            f"listen needs starlette and uvicorn: pip install 'musicemo[listen]' ({error})"
        ) from error
    try:
        bound = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise InputError(
            f"--port {port}: cannot be used: {error.strerror}. Use --port 0 for any free port"
        ) from error
    _remove_stale(Path(tempfile.gettempdir()))
    prefix = f"{_PREFIX}{os.getpid()}-"
    with bound, tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        port = bound.getsockname()[1]
        listed = SongList(listener, Path(folder))
        listed.add_files(songs)
        app = make_app(listed, [f"127.0.0.1:{port}", f"localhost:{port}"])
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        # In a thread, where it leaves the signals alone.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join(5)
            listed.close()


def _remove_stale(temporary: Path) -> None:
    """Remove the folders of processes that were killed, which could not delete theirs."""
    for folder in temporary.glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not number.isdecimal() or folder.is_symlink():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)  # another user's remains
        except (PermissionError, OverflowError):  # another user's process
            continue


def make_app(songs: SongList, hosts: Sequence[str]) -> ASGIApp:
    """Return the application.

    Args:
        songs: The songs.
        hosts: Allowed values of the header ``Host``. A page of another site that gives its own name to this machine's
            address has another one.

    Raises:
        InputError: A package of the server is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise InputError(
            f"listen needs starlette and uvicorn: pip install 'musicemo[listen]' ({error})"
        ) from error

    pages = _Pages(songs)
    routes = [
        Route("/", pages.page),
        Route("/songs", pages.states),
        Route("/songs", pages.upload, methods=["POST"]),
        Route("/songs/{number:int}", pages.song),
        Route("/songs/{number:int}", pages.open, methods=["POST"]),
        Route("/songs/{number:int}", pages.remove, methods=["DELETE"]),
        Route("/songs/{number:int}/plane", pages.plane),
        Route("/songs/{number:int}/audio.wav", pages.audio),
        Route("/songs/{number:int}/spectrogram.png", pages.spectrogram),
        Route("/tracks", pages.tracks),
        Route("/tracks", pages.add_track, methods=["POST"]),
    ]
    return _Guard(Starlette(routes=routes), hosts)


class _Guard:
    """Refuses requests that the page of this server did not send, and adds security headers.

    Args:
        app: The application.
        hosts: The allowed hosts, with their ports.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = set(hosts)
        self._origins = {f"http://{host}" for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        problem = ""
        if headers.get("host", "") not in self._hosts:
            problem = "Open the page at the address that musicemo printed."
        elif scope["method"] not in ("GET", "HEAD") and not self._is_own(headers):
            problem = "This request is from another page."

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    more[name] = value
                more.setdefault("content-security-policy", "default-src 'none'; sandbox")
            await send(message)

        app: ASGIApp = PlainTextResponse(problem, 403) if problem else self._app
        await app(scope, receive, answer)

    def _is_own(self, headers: Any) -> bool:
        """Return whether a browser sent a request for the page, or a program without a page did."""
        return headers.get("origin") in (None, *self._origins) and headers.get("sec-fetch-site") in (
            None,
            "same-origin",
        )


class _Pages:
    """The answers to requests."""

    def __init__(self, songs: SongList) -> None:
        self._songs = songs
        self._listener = songs.listener

    async def page(self, _: Request) -> Response:
        """Return the page."""
        from starlette.responses import HTMLResponse

        script = _resource("players.js", "musicemo.reporting") + _resource("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = (
            f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src 'self' data:; "
            "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        runs = self._listener.runs
        text = (
            _environment()
            .get_template("page.html")
            .render(
                style=_resource("style.css", "musicemo.reporting") + _resource("page.css"),
                script=script,
                name=runs[0].record.name,
                description=runs[0].record.experiment.get("description"),
                runs=sum(len(run.members) for run in runs),
                tracks=len(self._listener.tracks),
                silence=self._listener.silence,
                limits={"bytes": LARGEST, "megabytes": LARGEST // 2**20, "minutes": f"{LONGEST / 60:g}"},
            )
        )
        return HTMLResponse(visible(text), headers={"content-security-policy": policy})

    async def states(self, _: Request) -> Response:
        """Return the state of every song and of the dataset."""
        return _json({"songs": self._songs.states(), "dataset": self._songs.dataset()})

    async def upload(self, request: Request) -> Response:
        """Store the body as a song, and have it analyzed."""
        from starlette.requests import ClientDisconnect

        too_large = f"The file has more than {LARGEST // 2**20} MB."
        if int(request.headers.get("content-length") or 0) > LARGEST:
            return _problem(too_large, 413)
        try:
            song = self._songs.receive(request.query_params.get("name", ""))
        except Full as error:
            return _problem(f"{error}.", 429)
        assert song.path is not None
        size, problem = 0, ""
        try:
            with song.path.open("xb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > LARGEST:
                        problem = too_large
                        break
                    file.write(chunk)
        except ClientDisconnect:
            problem = "The upload was interrupted."
        except OSError as error:
            problem = f"The file cannot be stored: {error.strerror}."
        if problem or not size:
            self._songs.remove(song)
            return _problem(problem or "The file is empty.", 413 if problem == too_large else 400)
        return self._open(song)

    async def song(self, request: Request) -> Response:
        """Return the predictions of a song as a part of the page."""
        from starlette.responses import HTMLResponse

        song = self._find(request)
        if song is None or song.heard is None:
            return _problem("This song is not analyzed.", 404)
        emotions = default_emotions(song.heard, self._listener.held_out)
        chart = course_chart(song.heard, self._listener.held_out, *emotions) if emotions else None
        template = _environment().get_template("song.html")
        text = template.render(song=song, heard=song.heard, emotions=emotions, chart=chart)
        return HTMLResponse(visible(text))

    async def plane(self, request: Request) -> Response:
        """Return the plane of two emotions of a song as a part of the page."""
        from starlette.responses import HTMLResponse

        song = self._find(request)
        if song is None or song.heard is None:
            return _problem("This song is not analyzed.", 404)
        names = [request.query_params.get(axis, "") for axis in ("x", "y")]
        if unknown := [name for name in names if name not in [one.name for one in song.heard.ratings]]:
            return _problem(f"There is no rating {unknown[0]!r}.", 404)
        chart = course_chart(song.heard, self._listener.held_out, names[0], names[1])
        return HTMLResponse(visible(_environment().get_template("plane.html").render(chart=chart)))

    async def open(self, request: Request) -> Response:
        """Have a song analyzed."""
        song = self._find(request)
        return _problem("There is no such song.", 404) if song is None else self._open(song)

    async def remove(self, request: Request) -> Response:
        """Remove a song."""
        song = self._find(request)
        if song is None:
            return _problem("There is no such song.", 404)
        self._songs.remove(song)
        return _json({})

    async def audio(self, request: Request) -> Response:
        """Return the audio of a song."""
        return self._file(request, "audio.wav", "audio/wav")

    async def spectrogram(self, request: Request) -> Response:
        """Return the spectrogram of a song."""
        return self._file(request, "spectrogram.png", "image/png")

    async def tracks(self, request: Request) -> Response:
        """Return the tracks of the dataset whose ids contain a text."""
        part = request.query_params.get("q", "").casefold()
        tracks = self._listener.tracks if self._songs.ready.is_set() else {}
        ids = [track for track in tracks if part in track.casefold()]
        return _json(ids[:_OFFERED])

    async def add_track(self, request: Request) -> Response:
        """Add a track of the dataset."""
        try:
            song = self._songs.add_track(request.query_params.get("id", ""))
        except InputError as error:
            return _problem(f"{error}.", 404)
        return self._open(song)

    def _open(self, song: Song) -> Response:
        try:
            self._songs.open(song)
        except Full as error:
            return _problem(f"{error}.", 429)
        return _json(song.to_json(), 202)

    def _find(self, request: Request) -> Song | None:
        return self._songs.get(request.path_params["number"])

    def _file(self, request: Request, name: str, kind: str) -> Response:
        from starlette.responses import FileResponse

        song = self._find(request)
        if song is None or song.heard is None or not (song.folder / name).exists():
            return _problem("This song is not analyzed.", 404)
        return FileResponse(song.folder / name, media_type=kind)


def _json(value: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status)


def _problem(text: str, status: int) -> Response:
    return _json({"error": text}, status)


def _resource(name: str, package: str = __package__) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"scale": _Scale, "clock": _clock, "course": _course, "band": _band}
    environment.filters["svg"] = lambda chart: Markup(to_svg(chart))  # it escapes what it writes
    environment.filters["legend"] = lambda chart: [(Markup(drawn), label) for drawn, label in legend(chart)]
    return environment


class _Scale:
    """The values that a line of a rating shows, from its foot to its top.

    Args:
        rating: The rating.
    """

    def __init__(self, rating: Rating) -> None:
        values: list[float] = [rating.value, *rating.curve.tolist(), *(rating.interval or ())]
        values += np.concatenate(rating.band).tolist() if rating.band else []
        values += [] if rating.label is None else [rating.label]
        values += rating.span or rating.range or ()
        self.low, self.high = min(values), max(values)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def share(self, value: float) -> float:
        """Return the place of a value, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def _course(rating: Rating, heard: Heard) -> str:
    """Return the course of a rating as the path of an SVG of 1000 x 100."""
    points = _points(rating, heard, rating.curve)
    return "M" + "L".join(points) if len(points) > 1 else ""


def _band(rating: Rating, heard: Heard) -> str:
    """Return the outline of the band around the course; empty if the error of a moment is unknown."""
    if rating.band is None:
        return ""
    low, high = (_points(rating, heard, values) for values in rating.band)
    return "M" + "L".join([*high, *reversed(low)]) + "z"


def _points(rating: Rating, heard: Heard, values: NDArray[np.float64]) -> list[str]:
    scale = _Scale(rating)
    return [
        f"{1000 * time / heard.duration:.1f} {100 - 100 * scale.share(value):.1f}"
        for time, value in zip(rating.times.tolist(), values.tolist(), strict=True)
    ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
