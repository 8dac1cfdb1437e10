"""Tracking of a training run: where its metrics go, and the plots made of them."""

from deepeyes_env.trainers.tracking.recorders import MetricsFile, Recorder, TensorBoard, WandB, read_metrics

__all__ = ["MetricsFile", "Recorder", "TensorBoard", "WandB", "read_metrics"]
