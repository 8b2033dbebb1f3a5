"""Use trained runs: predict songs, evaluate on other data, export."""

from musicemo.prediction.ensembles import (
    EnsemblePredictor,
    TrainedEnsemble,
    evaluate_ensemble,
    find_trained,
    open_predictor,
    predictor_of,
)
from musicemo.prediction.evaluation import ALL, RunEvaluation, evaluate_on, evaluate_run, read_for
from musicemo.prediction.export import Exported, export_onnx
from musicemo.prediction.songs import Predictor, SongPrediction, TaskPrediction, failure_of
from musicemo.prediction.trained import TrainedRun, find_runs

__all__ = [
    "ALL",
    "EnsemblePredictor",
    "Exported",
    "Predictor",
    "RunEvaluation",
    "SongPrediction",
    "TaskPrediction",
    "TrainedEnsemble",
    "TrainedRun",
    "evaluate_ensemble",
    "evaluate_on",
    "evaluate_run",
    "export_onnx",
    "failure_of",
    "find_runs",
    "find_trained",
    "open_predictor",
    "predictor_of",
    "read_for",
]
