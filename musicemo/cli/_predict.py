"""``musicemo predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import Device, Format, FormatOption, Output, Sync, TrainedRuns, TrustLocalCode
from musicemo.cli._output import prints_data

if TYPE_CHECKING:
    from musicemo.features import Failure
    from musicemo.prediction import EnsemblePredictor, Predictor, SongPrediction

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``predict``."""
    app.command()(predict)


@prints_data
def predict(
    run: TrainedRuns,
    songs: Annotated[
        list[str],
        typer.Argument(
            metavar="SONG...",
            help="Audio files, folders or glob patterns; or .npy and .npz files, "
            "if the run was trained on such arrays.",
            show_default=False,
        ),
    ],
    form: FormatOption = Format.table,
    output: Output = None,
    sync: Annotated[
        Sync | None, typer.Option(help="Time grid of the run's features, if its dataset does not record it.")
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Window length. Default: the clip length in training."),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Step between windows. Default: half of a window.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG|DIR", help="Draw a figure per song: a .png file for one song, a folder for several."
        ),
    ] = None,
    device: Device = "auto",
    trust: TrustLocalCode = False,
) -> None:
    """Predict genre and emotions of songs.

    Several runs of an experiment give the mean and the standard deviation over the runs. A song longer than the clips
    in training is predicted in overlapping windows, and the predictions are averaged. Each prediction is written as
    soon as it is computed. If a song fails, the error is reported, the other songs are predicted, and the exit code
    is 2.
    """
    from musicemo.cli._output import Stream, check_output
    from musicemo.errors import InputError
    from musicemo.features import Failure
    from musicemo.prediction import open_predictor
    from musicemo.progress import Progress
    from musicemo.reporting.sections.songs import song_blocks
    from musicemo.reporting.tabular import stream_csv, stream_json
    from musicemo.terminal import say

    check_output(output)
    paths = _find(songs)
    arrays = [path for path in paths if path.suffix.lower() in (".npy", ".npz")]
    if arrays and len(arrays) < len(paths):
        audio = next(path for path in paths if path not in arrays)
        raise InputError(f"{audio}: predict audio files and arrays ({arrays[0]}) in two commands")
    if arrays and plot is not None:
        raise InputError("--plot: draws a song's audio, which arrays do not have")
    predictor = open_predictor(
        run,
        sync=sync.value if sync else None,
        window=window,
        hop=hop,
        device=device,
        trust_local_code=trust,
        arrays=bool(arrays),
    )
    runs = predictor.runs
    pictures = _pictures(plot, paths)
    problems: list[str] = []

    def results(songs: Iterable[Path]) -> Iterator[SongPrediction | Failure]:
        for song in songs:
            result = _predict(predictor, song, pictures.get(song), problems)
            if isinstance(result, Failure):
                name = str(song).replace("\n", "\\n")  # the message stays on one line
                problems.append(f"{name}: {result.reason}")
            yield result

    def write(songs: Iterable[Path], aside: Callable[[], AbstractContextManager[None]]) -> None:
        with Stream(output) as stream:
            if form == Format.table:
                for result in results(songs):
                    if not isinstance(result, Failure):
                        with aside():
                            stream.show(song_blocks(result))
                return
            for text, ending in (
                stream_json(runs, results(songs)) if form == Format.json else stream_csv(results(songs))
            ):
                with aside():
                    stream.write(text, ending)

    try:
        if len(paths) > 1:
            with Progress("Predicting", "songs") as bar:
                write(bar.watch(paths, len(paths)), bar.aside)
        else:
            write(paths, nullcontext)
    except BaseException:  # the problems so far would be lost
        for problem in problems:
            say("error", "bold red", problem)
        raise
    if problems:
        raise InputError(*problems)


def _predict(
    predictor: Predictor | EnsemblePredictor, song: Path, picture: Path | None, problems: list[str]
) -> SongPrediction | Failure:
    """Predict and draw a song. Whatever fails in it, the other songs go on.

    Args:
        predictor: the trained runs.
        song: its path.
        picture: where to draw it.
        problems: gets the reason why a predicted song is not drawn.
    """
    from musicemo.prediction import failure_of

    try:
        prediction = predictor.predict(song)
    except (Exception, SystemExit) as error:  # a model may be anybody's code
        return failure_of(song, error)
    if picture is not None:
        try:
            _draw(prediction, song, picture)
        except Exception as error:
            problems.append(f"{song}: the figure cannot be drawn: {error}")
    return prediction


def _find(sources: Sequence[str]) -> list[Path]:
    """Return every song once; a file that is missing is a song that will fail."""
    from musicemo.errors import InputError
    from musicemo.features import songs_in

    songs: dict[Path, None] = {}
    for source in sources:
        paths = songs_in(source)
        if not paths and Path(source).is_dir():
            paths = sorted(path for path in Path(source).rglob("*") if path.suffix.lower() in (".npy", ".npz"))
        if not paths and Path(source).is_dir():
            raise InputError(f"{source}: this folder contains no songs")
        songs.update(dict.fromkeys(paths or [Path(source)]))
    return list(songs)


def _pictures(plot: Path | None, songs: Sequence[Path]) -> dict[Path, Path]:
    """Return song -> picture, whose folder is there."""
    from musicemo.errors import InputError

    if plot is None:
        return {}
    single = plot.suffix.lower() == ".png" and not plot.is_dir()
    if single and len(songs) > 1:
        raise InputError(f"--plot {plot}: must be a folder to draw {len(songs)} songs, not a single file")
    try:
        (plot.parent if single else plot).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--plot {plot}: the folder cannot be created: {error.strerror}") from error
    if single:
        return {songs[0]: plot}
    pictures: dict[Path, Path] = {}
    taken: set[str] = set()
    for song in songs:
        name, number = song.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{song.stem}-{number}"
        taken.add(name.casefold())
        pictures[song] = plot / f"{name}.png"
    return pictures


def _draw(prediction: SongPrediction, song: Path, path: Path) -> None:
    from musicemo.features import analyse
    from musicemo.files import write_atomically
    from musicemo.reporting.song_figure import song_figure

    figure = song_figure(prediction, analyse(song))
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
