"""Use trained runs: predict songs, evaluate on other data, export."""

from musicemo.prediction.evaluation import ALL, RunEvaluation, evaluate_on, evaluate_run, read_for
from musicemo.prediction.export import Exported, export_onnx
from musicemo.prediction.songs import Predictor, SongPrediction, TaskPrediction, failure_of
from musicemo.prediction.trained import TrainedRun, find_runs

__all__ = [
    "ALL",
    "Exported",
    "Predictor",
    "RunEvaluation",
    "SongPrediction",
    "TaskPrediction",
    "TrainedRun",
    "evaluate_on",
    "evaluate_run",
    "export_onnx",
    "failure_of",
    "find_runs",
    "read_for",
]
