"""The trainer on the shipped policy: steps, estimators, faults, and resuming after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env import register_toolbox  # noqa: E402
from deepeyes_env.errors import MissingExtraError  # noqa: E402
from deepeyes_env.registry import load_plugins  # noqa: E402
from deepeyes_env.trainers.grpo.checkpoint import CheckpointError  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.learner import NonFiniteError  # noqa: E402
from deepeyes_env.trainers.grpo.run import TRAINING_RUN, run  # noqa: E402
from deepeyes_env.trainers.grpo.stopping import defer_signals  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from deepeyes_env.trajectories import read_trajectories  # noqa: E402

SMALL = (
    "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=3", "evaluation.samples=4",
    "evaluation.every=0", "checkpoint.every=0", "steps=1",
)  # fmt: skip


def config(out, *overrides):
    return load_config([*SMALL, f"out={out}", *overrides])


def test_a_run_leaves_everything_behind(tmp_path):
    outcome = run(config(tmp_path / "run", "steps=2"), live=False)
    assert (outcome.steps, outcome.interrupted) == (2, False)
    folder = tmp_path / "run"
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(row["learn/logprob_gap"] < 1e-3 for row in rows if "learn/logprob_gap" in row)
    assert "eval/accuracy" in rows[0]
    assert "eval/accuracy" in rows[2]
    before, after = (list(read_trajectories(folder / name)) for name in ("before", "after"))
    assert [each.sample.id for each in before] == [each.sample.id for each in after]
    assert all(turn.tokens for each in after for turn in each.turns)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000002"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "comparison.html").read_text(encoding="utf-8").count("<section>") == 4
    assert list((folder / "tensorboard").glob("events.*"))
    assert load_config((), folder / "config.yaml").steps == 2
    TRAINING_RUN.check(folder)  # which finds nothing that it does not know
    with pytest.raises(FileExistsError, match="--resume or --overwrite"):
        run(config(folder), live=False)


def test_the_logging_board_gets_every_episode(tmp_path):
    settings = ("log.rl_logging_board=true", "steps=2", "checkpoint.every=1", "evaluation.samples=0")
    run(config(tmp_path / "run", *settings), live=False)
    path = tmp_path / "run" / "logging_board" / "rollout_data_rank0.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1] * 6 + [2] * 6
    for row in rows:
        assert len(row["response_tokens"]) == len(row["logprobs"]) == len(row["token_rewards"])
        assert row["token_rewards"][-1] == row["reward"]
        assert row["prompt"]
        assert row["ground_truth"]
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 3, "torn', encoding="utf-8")
    run(config(tmp_path / "run", *settings, "steps=3"), resume=True, live=False)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1] * 6 + [2] * 6 + [3] * 6
    TRAINING_RUN.check(tmp_path / "run")


@pytest.mark.ray
def test_an_actor_that_is_killed_costs_nothing(tmp_path):
    """Its episodes are played again from seed and actions: the same weights as if nothing had happened."""

    def weights(name, kill):
        settings = ("steps=2", "rollout.backend=ray", "rollout.actors=1", "evaluation.samples=0")
        trainer = Trainer(config(tmp_path / name, *settings))
        send, sent = trainer._env.send, []

        def send_and_kill(commands):
            sent.append(commands)
            if kill and len(sent) == 3:
                os.kill(trainer._env.actor_pids()[0], signal.SIGKILL)
            send(commands)

        trainer._env.send = send_and_kill
        try:
            trainer.train()
        finally:
            trainer.close()
        assert len(sent) > 3
        return trainer.policy.model.state_dict()

    whole, killed = weights("whole", kill=False), weights("killed", kill=True)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.slow
def test_memory_does_not_grow_with_steps(tmp_path):
    settings = ("steps=200", "rollout.prompts=8", "rollout.group_size=4", "evaluation.samples=0", "checkpoint.every=50")
    code = "from deepeyes_env.trainers.grpo.config import load_config\nfrom deepeyes_env.trainers.grpo.run import run\n"
    code += f"run(load_config({[*SMALL, *settings, f'out={tmp_path}/run']!r}), live=False)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)
    peaks = {row["step"]: row["memory/peak"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["step"]}
    assert peaks[200] < 1.05 * peaks[100]


@pytest.mark.parametrize("marked", [True, False])
def test_what_no_run_wrote_is_not_deleted(tmp_path, marked):
    for name in ("config.yaml", "thesis.tex"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    if marked:
        TRAINING_RUN.claim(tmp_path)
    said = "thesis.tex, which no training run writes" if marked else "config.yaml and is not marked as the folder of a"
    with pytest.raises(FileExistsError, match=f"holds {said}"):
        run(config(tmp_path), overwrite=True, live=False)
    assert all((tmp_path / name).read_text(encoding="utf-8") == "x" for name in ("config.yaml", "thesis.tex"))


def test_somebody_s_folder_is_not_taken_for_a_run_to_resume(tmp_path):
    config(tmp_path).save(tmp_path / "config.yaml")
    with pytest.raises(FileNotFoundError, match="holds no run to resume"):
        run(config(tmp_path), resume=True, live=False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "settings",
    [
        ("algorithm.advantage=remax", "algorithm.loss=reinforce"),
        ("algorithm.advantage=gae", "optim.epochs=2"),
        ("algorithm.advantage=rloo", "algorithm.kl=loss", "algorithm.loss=gspo"),
        ("algorithm.advantage=reinforce_plus_plus", "algorithm.kl=reward", "algorithm.entropy_coefficient=0.01"),
        ("algorithm.advantage=dr_grpo", "optim.minibatches=2", "optim.micro_batch_tokens=200"),
        ("rollout.dynamic_sampling=2",),
        ("optim.dtype=bfloat16", "optim.gradient_checkpointing=true"),
    ],
)
def test_every_algorithm_takes_a_step(tmp_path, settings):
    trainer = Trainer(config(tmp_path, *settings))
    before = {name: weight.clone() for name, weight in trainer.policy.model.state_dict().items()}
    try:
        trainer.train()
    finally:
        trainer.close()
    after = trainer.policy.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(weight).all() for weight in after.values())


def test_micro_batches_change_nothing(tmp_path):
    def weights(name, *settings):
        trainer = Trainer(config(tmp_path / name, *settings))
        try:
            trainer.train()
        finally:
            trainer.close()
        return trainer.policy.model.state_dict()

    whole, cut = weights("whole"), weights("cut", "optim.micro_batch_tokens=150")
    # Adam divides by the size of a gradient: where that is next to nothing, rounding decides.
    close = [torch.isclose(whole[name], cut[name], atol=2e-5).float().mean() for name in whole]
    assert min(close) > 0.9


def test_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path, monkeypatch):
    trainer = Trainer(config(tmp_path))
    monkeypatch.setattr(trainer.learner, "_useful", lambda _, rows: list(rows))
    real = trainer.learner._loss
    monkeypatch.setattr(trainer.learner, "_loss", lambda *given: real(*given) * torch.nan)
    try:
        with pytest.raises(NonFiniteError, match=r"step 1: the loss is nan; its episodes are in .*failed_step_000001"):
            trainer.train()
    finally:
        trainer.close()
    assert len(list(read_trajectories(tmp_path / "failed_step_000001"))) == 6


PLUGIN = """
from deepeyes_env.rewards import Rubric, Term, register_rubric

def broken(evidence):
    raise RuntimeError("the judge is away")

register_rubric("test_broken", Rubric([Term("acc", broken, 1.0)]))
"""


def test_a_judge_that_always_raises_ends_the_run_with_its_reason(tmp_path):
    (tmp_path / "broken_plugin.py").write_text(PLUGIN, encoding="utf-8")
    load_plugins([str(tmp_path / "broken_plugin.py")])
    settings = ("env.rubric=test_broken", "steps=9", "evaluation.samples=0")
    trainer = Trainer(config(tmp_path / "run", *settings))
    try:
        with pytest.raises(RuntimeError, match=r"no episode of the last 3 steps .* the judge is away"):
            trainer.train()
    finally:
        trainer.close()


CONSTANT = """
from deepeyes_env.rewards import Rubric, Term, register_rubric

def constant(evidence):
    return 7.0

register_rubric("test_constant", Rubric([Term("constant", constant, 1.0)]))
"""


@pytest.mark.ray
def test_a_rubric_of_a_plugin_reaches_the_actors(tmp_path):
    (tmp_path / "constant_plugin.py").write_text(CONSTANT, encoding="utf-8")
    load_plugins([str(tmp_path / "constant_plugin.py")])
    settings = ("env.rubric=test_constant", "rollout.backend=ray", "rollout.actors=1")
    run(config(tmp_path / "run", *settings), live=False)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[1]["reward/total"] == 7


def trained(out, *overrides, resume=False, spoil=None):
    """A trainer that has run to its end, closed."""
    trainer = Trainer(config(out, *overrides), resume=resume)
    if spoil:
        spoil(trainer)
    try:
        trainer.train()
    finally:
        trainer.close()
    return trainer


@pytest.mark.parametrize("advantage", ["grpo", "reinforce_plus_plus", "gae"])
def test_a_group_of_one_is_learned_from(tmp_path, advantage):
    trainer = trained(tmp_path, f"algorithm.advantage={advantage}", "rollout.group_size=1", "rollout.prompts=4")
    assert trainer.learner.state()["optimizer_steps"] == 1


def test_a_greedy_baseline_wants_a_group(tmp_path):
    with pytest.raises(ValueError, match=r"'remax' wants .* raise rollout\.group_size above 1"):
        Trainer(config(tmp_path, "algorithm.advantage=remax", "rollout.group_size=1"))


def test_steps_of_equal_rewards_do_not_end_a_run(tmp_path):
    alike = ("rollout.temperature=0.01", "rollout.dynamic_sampling=1", "steps=5", "evaluation.samples=0")
    assert trained(tmp_path, *alike).progress.step == 5


def test_the_constant_length_is_that_of_the_run(tmp_path):
    totals = []

    def spoil(trainer):
        real = trainer.learner._loss

        def loss(rows, scores, targets, given, *rest):
            totals.append(given.length)
            return real(rows, scores, targets, given, *rest)

        trainer.learner._loss = loss

    trained(tmp_path, "algorithm.aggregation=seq-mean-token-sum-norm", "steps=2", spoil=spoil)
    assert set(totals) == {3 * 32}


def test_metrics_are_means_over_the_tokens_that_are_trained_on(tmp_path):
    """Half of the episodes have no advantage, and do not go through the model."""
    logged = {}

    def spoil(trainer):
        learner = trainer.learner
        useful, real = learner._useful, learner._forward
        forwarded = []
        learner._useful = lambda targets, rows: [row for row in useful(targets, rows) if row % 2 == 0]

        def noted(policy, packs):
            for rows, scores in real(policy, packs):
                forwarded.append((rows, scores))
                yield rows, scores

        learner._forward = noted
        learn = learner.learn

        def logged_learn(batch, shuffle):
            metrics = learn(batch, shuffle)
            mask = batch.completion_mask()
            entropies = [each.entropy[mask[rows, : each.entropy.shape[1]]].detach() for rows, each in forwarded]
            logged.update(expected=torch.cat(entropies).mean().item(), found=metrics["learn/entropy"])
            return metrics

        learner.learn = logged_learn

    trained(tmp_path, "rollout.prompts=4", "rollout.group_size=4", "optim.micro_batch_tokens=300", spoil=spoil)
    assert logged["found"] == pytest.approx(logged["expected"], rel=1e-4)


def test_probabilities_that_are_no_numbers_stop_the_run(tmp_path):
    def spoil(trainer):
        with torch.no_grad():
            trainer.policy.model.model.language_model.norm.weight.fill_(torch.nan)

    with pytest.raises(NonFiniteError, match="probabilities that are not numbers"):
        trained(tmp_path, "evaluation.samples=0", spoil=spoil)


def test_an_evaluation_that_was_interrupted_is_made_up_for(tmp_path):
    folder = tmp_path / "run"

    def spoil(trainer):
        real = trainer._evaluate

        def evaluate(name):
            if name == "after":
                raise KeyboardInterrupt
            return real(name)

        trainer._evaluate = evaluate

    trainer = trained(folder, spoil=spoil)
    trainer.config.save(folder / "config.yaml")
    TRAINING_RUN.claim(folder)
    assert trainer.progress.step == 1
    assert not (folder / "after").exists()
    assert not run(config(folder), resume=True, live=False).interrupted
    assert "eval/accuracy" in read_metrics(folder / "metrics.jsonl")[-1]
    assert (folder / "comparison.html").exists()
    rows = len(read_metrics(folder / "metrics.jsonl"))
    run(config(folder), resume=True, live=False)
    assert len(read_metrics(folder / "metrics.jsonl")) == rows


def test_going_on_takes_the_settings_of_now(tmp_path):
    trained(tmp_path, "evaluation.samples=0")
    settings = ("steps=2", "optim.betas=[0.5, 0.6]", "optim.weight_decay=0.5", "evaluation.samples=0")
    group = trained(tmp_path, *settings, resume=True).learner.optimizer.param_groups[0]
    assert (tuple(group["betas"]), group["weight_decay"]) == ((0.5, 0.6), 0.5)
    with pytest.raises(ValueError, match="an estimator without a value head"):
        Trainer(config(tmp_path, "algorithm.advantage=gae"), resume=True)
    (tmp_path / "checkpoints" / "step_000009").write_text("a file")
    state = tmp_path / "checkpoints" / "step_000002" / "state.pt"
    whole = torch.load(state, weights_only=False)
    torch.save({name: value for name, value in whole.items() if name != "optimizer"}, state)
    with pytest.raises(CheckpointError, match=r"step_000002 cannot be read \('optimizer'\)"):
        Trainer(config(tmp_path), resume=True)
    torch.save(whole, state)
    weights = tmp_path / "checkpoints" / "step_000002" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"step_000002 cannot be read .* delete it"):
        Trainer(config(tmp_path), resume=True)


def test_a_run_goes_on_with_its_own_questions(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume; leave out --resume"):
        run(config(tmp_path / "run"), resume=True, live=False)
    run(config(tmp_path / "run", "evaluation.samples=2"), live=False)
    said = r"seed was 0 and now is 5, scenes\.easy was 0\.3 and now is 0\.4, evaluation\.samples was 2 and now is 4"
    with pytest.raises(ValueError, match=said):
        run(config(tmp_path / "run", "seed=5", "scenes.easy=0.4"), resume=True, live=False)


def test_ctrl_c_while_a_run_is_closed_waits_until_it_is(tmp_path, monkeypatch):
    close = Trainer.close

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        close(self)
        raise RuntimeError("tools would not close")

    monkeypatch.setattr(Trainer, "close", interrupted)
    with pytest.raises(RuntimeError, match="would not close"):
        run(config(tmp_path / "broken", "evaluation.samples=0"), live=False)
    assert (tmp_path / "broken" / "curves.png").exists()
    monkeypatch.setattr(Trainer, "close", lambda self: os.kill(os.getpid(), signal.SIGINT) or close(self))
    with pytest.raises(KeyboardInterrupt):
        run(config(tmp_path / "run", "evaluation.samples=0"), live=False)
    assert (tmp_path / "run" / "curves.png").exists()


def test_a_close_that_hangs_can_be_left_at_the_third_signal():
    before = signal.getsignal(signal.SIGINT)
    with defer_signals() as came:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(came) == 3
    assert signal.getsignal(signal.SIGINT) is before
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: defer_signals().__enter__()).result() == []


def test_registered_arguments_count_in_threads_too(tmp_path):
    register_toolbox("OneImage-v0", tools=["image_zoom_in_tool"], max_images=1)
    trainer = Trainer(config(tmp_path, "env.toolbox=OneImage-v0"))
    assert {limits.max_images for limits in trainer._env.call("limits")} == {1}
    trainer.close()


def test_a_loss_that_is_unknown_is_found_first(tmp_path):
    with pytest.raises(ValueError, match="unknown policy loss 'pppo'"):
        run(config(tmp_path / "run", "algorithm.loss=pppo"), live=False)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_deleted_for_one_that_cannot_begin(tmp_path, monkeypatch):
    run(config(tmp_path / "run", "evaluation.samples=0"), live=False)
    with pytest.raises(ValueError, match="nowhere"):
        run(config(tmp_path / "run", "model=/nowhere"), overwrite=True, live=False)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb is not installed"):
        run(config(tmp_path / "run", "log.wandb=mine"), overwrite=True, live=False)
    with pytest.raises(ValueError, match=r"plugins=\['nope'\]: not loaded, .*; give --plugin nope, or plugins=\[\]"):
        run(config(tmp_path / "run", "plugins=[nope]"), overwrite=True, live=False)
    with pytest.raises(ValueError, match=r"unknown backend 'rays'; did you mean 'ray'\?"):
        run(config(tmp_path / "run", "rollout.backend=rays"), overwrite=True, live=False)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")
    run(config(tmp_path / "run", "evaluation.samples=0", "seed=5"), overwrite=True, live=False)
    assert load_config((), tmp_path / "run" / "config.yaml").seed == 5
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is a file; name a folder"):
        run(config(tmp_path / "file"), live=False)


def command(out, *overrides):
    return [sys.executable, "-m", "deepeyes_env.cli", "train", *SMALL, f"out={out}", *overrides]


def wait_for_step(folder, step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        path = Path(folder) / "metrics.jsonl"
        if path.exists() and any(row["step"] >= step for row in read_metrics(path)):
            return
        time.sleep(0.02)
    raise AssertionError(f"the run never came to step {step}: {process.stderr and process.stderr.read()}")


def test_a_killed_run_that_goes_on_ends_with_the_same_weights(tmp_path):
    settings = ("steps=5", "checkpoint.every=2", "evaluation.samples=2")
    environment = {**os.environ, "PYTHONPATH": "."}
    whole = subprocess.Popen(command(tmp_path / "whole", *settings), env=environment, stderr=subprocess.PIPE)
    killed = subprocess.Popen(command(tmp_path / "killed", *settings), env=environment, stderr=subprocess.PIPE)
    wait_for_step(tmp_path / "killed", 3, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert whole.wait(timeout=120) == 0, whole.stderr.read()
    subprocess.run([*command(tmp_path / "killed", *settings), "--resume"], env=environment, check=True)
    path = "checkpoints/step_000005/model.safetensors"
    assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "killed" / path).read_bytes()
    rows = read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]


@pytest.mark.ray
def test_ctrl_c_leaves_a_checkpoint_and_no_processes(tmp_path):
    settings = ("steps=500", "rollout.backend=ray", "rollout.actors=1", "evaluation.samples=0")
    process = subprocess.Popen(
        command(tmp_path / "run", *settings),
        env={**os.environ, "PYTHONPATH": "."},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(tmp_path / "run", 1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resume with --resume" in said
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{steps[-1]:06d}"]
    mine = subprocess.run(["pgrep", "-f", f"{tmp_path}"], capture_output=True, text=True, check=False)
    assert mine.stdout == ""
