"""``musicemo extract``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import Sync
from musicemo.cli._output import emit, emit_blocks

if TYPE_CHECKING:
    from musicemo.features import ExtractionReport

__all__ = ["add_commands"]

_SHOWN = 20
"""Maximum number of failures in the table. The file lists all of them."""


def add_commands(app: typer.Typer) -> None:
    """Add ``extract``."""
    app.command()(extract)


def extract(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Audio files, folders or glob patterns.", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder.", show_default=False)],
    sample_rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate in Hz.")] = 22050,
    hop: Annotated[int, typer.Option(metavar="SAMPLES", help="Samples between successive frames.")] = 512,
    n_fft: Annotated[int, typer.Option("--n-fft", metavar="SAMPLES", help="FFT window length.")] = 2048,
    mels: Annotated[int, typer.Option(metavar="N", help="Number of mel bands.")] = 128,
    offset: Annotated[float, typer.Option(metavar="SECONDS", help="Start of the excerpt.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of the excerpt. Default: the whole song.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="TOML",
            help="File with a table [features], such as an experiment: the extractor to use.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of processes, or with --launcher of blocks at a time. Default: one per core.",
        ),
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Launcher that executes blocks of songs, such as ray or submitit. Its parameters are those of "
            "\\[launcher] in --features. Default: processes of this machine.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first song that fails.")] = False,
    pack: Annotated[
        list[Sync] | None,
        typer.Option(
            help="Also pack these features of all songs into one file, OUT/beat.pack or OUT/frame.pack."
        ),
    ] = None,
) -> None:
    """Extract the features of songs.

    The features are a mel spectrogram and a chromagram, frame-wise and beat-synchronous, or those of another extractor
    (--features). Each song gets a feature file
    under OUT, at the same relative path as in its folder. An existing feature file is kept if it is intact and was
    computed from the same song with the same parameters. OUT/failures.csv lists the songs that failed, with the reason.
    """
    from musicemo.errors import InputError, RunError
    from musicemo.experiment.features import read_stream
    from musicemo.experiment.launchers import read_launcher
    from musicemo.features import Pack, Recipe, Stream, find_songs, read_array
    from musicemo.features import extract as extract_songs
    from musicemo.progress import Progress

    recipe: Recipe | Stream = Recipe(sample_rate, hop, n_fft, mels, offset, duration)
    if features is not None:
        if recipe != Recipe() or pack:
            raise InputError(
                "--features: the parameters are those of the file; leave out --sample-rate, --hop, --n-fft, --mels, "
                "--offset, --duration and --pack"
            )
        recipe = read_stream(features)
    where = read_launcher(features, launcher, jobs) if launcher else None
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file. The last argument must be the output folder")
    songs = find_songs(sources, out)
    with Progress("Extracting", "songs") as bar:
        try:
            report = extract_songs(
                songs,
                recipe,
                jobs=jobs,
                launcher=where,
                strict=strict,
                failures=out / "failures.csv",
                progress=bar.update,
            )
        except InputError as error:
            raise RunError(str(error)) from error
    _print(report, out)
    failed = {failure.path for failure in report.failures}
    files = {song: file for song, file in songs.items() if song not in failed}
    for sync in (pack or []) if files else []:
        with Progress(f"Packing {sync.value}", "songs") as bar:
            names = ((file.relative_to(out).with_suffix("").as_posix(), file) for file in files.values())
            arrays = ((name, read_array(file, sync.value)) for name, file in names)
            packed = Pack.build(out / f"{sync.value}.pack", bar.watch(arrays, len(files)))
        emit(f"{packed.path}: {len(packed)} songs, {packed.path.stat().st_size / 1e6:.1f} MB\n")
    if not files:
        raise RunError(f"none of {len(songs)} songs could be analyzed")


def _print(report: ExtractionReport, out: Path) -> None:
    """Print the number of songs, and the first failures."""
    from musicemo.files import printable
    from musicemo.reporting.blocks import Column, Table, Text

    pace = f" in {report.seconds:.1f} s, {report.done / report.seconds:.1f} per second" if report.done else ""
    counts = (
        f"{report.done} songs extracted{pace}; {report.skipped} existed before; {len(report.failures)} failed"
    )
    emit_blocks([Text(f"{out}: {counts}")])
    if report.failures:
        shown = report.failures[:_SHOWN]
        rows = [[printable(failure.path), printable(failure.reason)] for failure in shown]
        more = len(report.failures) - _SHOWN
        text = f"{f'and {more} more; ' if more > 0 else ''}all failures are listed in {out / 'failures.csv'}"
        emit_blocks([Table(["song", Column("reason", text=True, fold=True)], rows), Text(text)])
