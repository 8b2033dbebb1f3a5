"""The network, the loop, and what a run needs to be repeated."""

from musicemo.training.checkpoint import content_hash, load_checkpoint
from musicemo.training.loop import Follower, Recorder, Trainer
from musicemo.training.network import Network
from musicemo.training.objective import Objective, Teacher, Term
from musicemo.training.optimization import choose_device, use_threads
from musicemo.training.pretraining import PRETRAININGS, Pretraining
from musicemo.training.processes import SINGLE, Processes
from musicemo.training.resuming import check_resumable, has_checkpoint
from musicemo.training.run import Prepared, Run
from musicemo.training.selection import describe_selection
from musicemo.training.settings import PretrainingSettings, TrainingSettings, TransferSettings
from musicemo.training.stopping import Stopping, StopRequest, check_monitor, recorded_quantities

__all__ = [
    "PRETRAININGS",
    "SINGLE",
    "Follower",
    "Network",
    "Objective",
    "Prepared",
    "Pretraining",
    "PretrainingSettings",
    "Processes",
    "Recorder",
    "Run",
    "StopRequest",
    "Stopping",
    "Teacher",
    "Term",
    "Trainer",
    "TrainingSettings",
    "TransferSettings",
    "check_monitor",
    "check_resumable",
    "choose_device",
    "content_hash",
    "describe_selection",
    "has_checkpoint",
    "load_checkpoint",
    "recorded_quantities",
    "use_threads",
]
