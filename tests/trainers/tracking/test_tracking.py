"""Recorders and pictures, read back."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image as PILImage

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from deepeyes_env.plotting import RATE
from deepeyes_env.trainers.tracking import MetricsFile, TensorBoard, curves, read_metrics
from deepeyes_env.trainers.tracking.board import FILE, LoggingBoard
from deepeyes_env.trainers.tracking.curves import plot_bands, plot_curves
from deepeyes_env.trainers.tracking.live import Live, sparkline


def row(step):
    metrics = {"accuracy/hard": 0.3 + step / 100, "reward/total": step / 50, "reward/acc": 0.1, "tool/rate/hard": 0.5}
    return {**metrics, **({"eval/accuracy/hard": step / 60, "eval/tool/calls": 1.0} if step % 5 == 0 else {})}


def written(path, steps=20):
    file = MetricsFile(path)
    for step in range(steps + 1):
        file.record(step, row(step))
    file.close()
    return path


def test_metrics_are_read_back(tmp_path):
    path = written(tmp_path / "metrics.jsonl", 3)
    assert read_metrics(path) == [{"step": step, **row(step)} for step in range(4)]


def test_a_run_that_goes_on_drops_what_was_ahead_and_torn_lines(tmp_path):
    path = written(tmp_path / "metrics.jsonl", 6)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 7, "accu')
    again = MetricsFile(path, step=4)
    again.record(5, {"accuracy": 1.0})
    again.close()
    assert [each["step"] for each in read_metrics(path)] == [0, 1, 2, 3, 4, 5]


def test_a_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: not JSON"):
        read_metrics(path)


def test_tensorboard_events_are_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (9, 3):  # a run that was killed before its first checkpoint begins again
        recorder = TensorBoard(tmp_path)
        for step in range(steps):
            recorder.record(step, {"accuracy": step / 4})
        recorder.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("accuracy")
    assert [(event.step, event.value) for event in events] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_a_board_that_goes_on_keeps_the_episodes_so_far(tmp_path):
    lines = [json.dumps({"step": step, "response": "a\u2028b\x85c"}, ensure_ascii=False) for step in range(1, 5)]
    (tmp_path / FILE).write_text("\n".join([*lines, '{"step": 2, "resp']), encoding="utf-8")
    LoggingBoard(tmp_path, None, 2).close()
    assert (tmp_path / FILE).read_text(encoding="utf-8").split("\n") == [*lines[:2], ""]


@pytest.mark.integration
def test_curves_are_a_picture(tmp_path):
    plot_curves(written(tmp_path / "metrics.jsonl"), tmp_path / "curves.png")
    pixels = np.asarray(PILImage.open(tmp_path / "curves.png").convert("RGB"))
    assert pixels.shape[1] > 800
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.pdf", "curves.png", "metrics.jsonl"]
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")


def test_every_axis_is_labelled_rates_go_from_0_to_1_and_every_mark_has_a_legend(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    metrics = written(tmp_path / "metrics.jsonl")
    plot_curves(metrics, tmp_path / "curves.png")
    plot_bands({"a": [metrics, metrics], "b": [metrics]}, tmp_path / "bands.png")
    for figure, panels in zip(figures, (curves.PANELS, curves.compared()), strict=True):
        for axis in figure.axes:
            assert axis.get_title(loc="left")
            assert axis.get_ylabel()
            assert all(tick == int(tick) for tick in axis.get_xticks())
        for axis, panel in zip(figure.axes, panels, strict=False):
            assert axis.get_ylim()[0] == 0
            assert (axis.get_ylim() == RATE) == panel.is_rate
        assert [axis.get_xlabel() for axis in figure.axes[-2:]] == ["training step"] * 2
    legends = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in figures]
    assert legends[0] == ["training batch", "moving average of 7 batches", "held-out questions"]
    assert legends[1] == ["a", "b", "lowest to highest of 2 seeds"]


def test_the_chance_line_is_drawn_where_chance_is_known(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    for name, row in (("with", {"eval/chance": 0.25}), ("without", {})):
        path = tmp_path / name
        path.write_text(json.dumps({"step": 0, "eval/accuracy": 0.5, **row}) + "\n")
        plot_curves(path, tmp_path / "curves.png")
    told = [[line.get_label() for line in figure.axes[0].lines] for figure in figures]
    assert ["chance" in labels for labels in told] == [True, False]


@pytest.mark.integration
def test_curves_of_one_step_and_of_none(tmp_path):
    plot_curves(written(tmp_path / "one.jsonl", 0), tmp_path / "one.png")
    plot_curves(tmp_path / "none.jsonl", tmp_path / "none.png")
    assert PILImage.open(tmp_path / "one.png").size == PILImage.open(tmp_path / "none.png").size


@pytest.mark.integration
def test_bands_are_a_picture(tmp_path):
    arms = {"a": [written(tmp_path / "1"), written(tmp_path / "2", 15)], "b": [written(tmp_path / "3")]}
    plot_bands(arms, tmp_path / "bands.png")
    assert PILImage.open(tmp_path / "bands.png").size[0] > 800


def test_elsewhere_than_in_a_terminal_there_is_a_line_now_and_then(capsys):
    live = Live(40)
    for step in range(41):
        live.record(step, {"accuracy": 0.5, **({"eval/accuracy": 0.75} if step == 40 else {})})
    live.close()
    said = capsys.readouterr().out
    assert "step 20/40" in said
    assert "step 21/40" not in said
    assert "held out: accuracy 0.75" in said


def test_in_a_terminal_there_is_a_table(monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(
        "deepeyes_env.trainers.tracking.live.console", lambda: Console(file=screen, force_terminal=True, width=80)
    )
    live = Live(10)
    for step in range(1, 11):
        live.record(step, {"reward/total": 1.0, "reward/tool": 0.2, "accuracy": step / 10, "tool/rate": 0.5})
    live.close()
    said = screen.getvalue()
    assert "step 10 of 10" in said
    assert "accuracy" in said
    assert "▂" in said


def test_sparklines_rise_with_their_values():
    assert sparkline([0.0, 1.0], 10) == " █"
    assert len(sparkline(list(np.linspace(0, 1, 500)), 40)) == 40
    assert sparkline([2.0, 2.0], 10).strip() == ""
