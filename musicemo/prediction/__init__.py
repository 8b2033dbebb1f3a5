"""Trained runs at work: predictions for songs, evaluation on other data, export."""

from musicemo.prediction.evaluation import ALL, RunEvaluation, evaluate_run
from musicemo.prediction.export import Exported, export_onnx
from musicemo.prediction.figure import song_figure
from musicemo.prediction.replicates import find_runs
from musicemo.prediction.report import evaluations_csv, evaluations_json, predictions_csv, predictions_json
from musicemo.prediction.songs import Predictor, SongPrediction, TaskPrediction
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
    "find_runs",
    "predictions_csv",
    "predictions_json",
    "song_figure",
]
