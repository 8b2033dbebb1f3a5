"""Use trained runs: predict songs, evaluate on other data, export."""

from musicemo.prediction.evaluation import ALL, RunEvaluation, evaluate_run
from musicemo.prediction.export import Exported, export_onnx
from musicemo.prediction.figure import song_figure
from musicemo.prediction.replicates import find_runs
from musicemo.prediction.report import (
    evaluations_csv,
    evaluations_json,
    predictions_csv,
    predictions_json,
    stream_csv,
    stream_json,
)
from musicemo.prediction.songs import Predictor, SongPrediction, TaskPrediction, failure_of
from musicemo.prediction.trained import TrainedRun

__all__ = [
    "ALL",
    "Exported",
    "Predictor",
    "RunEvaluation",
    "SongPrediction",
    "TaskPrediction",
    "TrainedRun",
    "evaluate_run",
    "evaluations_csv",
    "evaluations_json",
    "export_onnx",
    "failure_of",
    "find_runs",
    "predictions_csv",
    "predictions_json",
    "song_figure",
    "stream_csv",
    "stream_json",
]
