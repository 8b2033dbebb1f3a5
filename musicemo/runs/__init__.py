"""Run directories: write them, find them, read them."""

from musicemo.runs.claiming import Claim, RunInUseError, claim_run, earlier_runs, find_run, record_death
from musicemo.runs.directory import LinkedRunError, RunDirectory
from musicemo.runs.environment import describe_environment
from musicemo.runs.identity import RunIdentity, fingerprint
from musicemo.runs.reading import RunRecord, open_run
from musicemo.runs.recording import recorded, unforeseen
from musicemo.runs.replicates import find_replicates, open_replicates, open_runs, version_of
from musicemo.runs.search import read_search

__all__ = [
    "Claim",
    "LinkedRunError",
    "RunDirectory",
    "RunIdentity",
    "RunInUseError",
    "RunRecord",
    "claim_run",
    "describe_environment",
    "earlier_runs",
    "find_replicates",
    "find_run",
    "fingerprint",
    "open_replicates",
    "open_run",
    "open_runs",
    "read_search",
    "record_death",
    "recorded",
    "unforeseen",
    "version_of",
]
