"""Supervised fine-tuning up to the batch: what is read and left out, tokens and labels, patches, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import AutoConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from typer.testing import CliRunner

from deepeyes_env import agents
from deepeyes_env.agents.transformers.chat import load_chat
from deepeyes_env.agents.transformers.encoding import encode
from deepeyes_env.cli.app import app
from deepeyes_env.core import Message
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.errors import DataError, UnknownNameError, UsageError
from deepeyes_env.trainers.sft import Example, Reply, check, load_settings
from deepeyes_env.trainers.sft.collator import COLUMN, Collator
from deepeyes_env.trainers.sft.config import sft_arguments
from deepeyes_env.trainers.sft.encoding import encode_example, marked
from deepeyes_env.trainers.sft.examples import example_of
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.export import Selection, conversation_of, export

FACTOR = 28


def played(folder, agent, env="VisualToolbox-v2", episodes=6):
    agents.rollout(env, agent, dataset=pattern_search(length=episodes), episodes=episodes, out=folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def oracle_run(tmp_path_factory):
    return played(tmp_path_factory.mktemp("runs") / "oracle", "oracle")


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory):
    """Right and wrong answers, and calls that failed."""
    return played(tmp_path_factory.mktemp("runs") / "noisy", agents.make_agent("noisy", noise=0.6, seed=1), episodes=24)


@pytest.fixture(scope="module")
def native_run(tmp_path_factory):
    return played(tmp_path_factory.mktemp("runs") / "native", "oracle", "VisualToolboxNative-v0", 2)


@pytest.fixture(scope="module")
def chat():
    return load_chat(BASE, FACTOR)


@pytest.fixture(scope="module")
def config():
    return AutoConfig.from_pretrained(BASE)


def token_by_token(chat, episode):
    """Return ids of an episode, and for each who wrote it, by what a policy is given before each of its messages."""
    ids, own = [], []
    for number, turn in enumerate(episode.turns):
        before = encode(chat, replace(episode, turns=episode.turns[:number])).tokens.ids.tolist()
        assert before[: len(ids)] == ids
        own += [None] * (len(before) - len(ids))
        said = [*chat.tokenizer(turn.action, add_special_tokens=False).input_ids, chat.end_of_turn]
        own += [number] * len(said)
        ids = before + said
    return ids, own


# --- tokens and labels ---


def test_labels_are_the_policys_tokens_and_no_others(chat, noisy_run):
    turns = failed = 0
    for episode in read_trajectories(noisy_run):
        tokens = encode_example(chat, example_of(conversation_of(episode, "text")), FACTOR)
        ids, own = token_by_token(chat, episode)
        meant = [turn.answer is not None or bool(turn.results) for turn in episode.turns]
        good = [fit and all(each.ok for each in turn.results) for fit, turn in zip(meant, episode.turns, strict=True)]
        assert tokens.ids.tolist() == ids
        assert tokens.mask.tolist() == [number is not None and good[number] for number in own]
        turns, failed = max(turns, len(episode.turns)), failed + good.count(False)
    assert turns > 2
    assert failed


def test_what_a_message_was_begun_with_is_not_trained_on(chat):
    opening, answer = Message("Which?", ()), Message("Again.", (), prefill="<think>")
    example = Example("a", opening, (Reply("red", observation=answer), Reply("blue</think>")))
    tokens = encode_example(chat, example, FACTOR)
    written = marked(chat, tokens)
    assert "<think>[[" in written.replace(" ", "")
    assert written.count("[[") == 2


def test_a_prefill_of_a_played_episode_comes_once(oracle_run):
    episode = next(each for each in read_trajectories(oracle_run) if len(each.turns) > 1)
    first, second, *others = episode.turns
    begun = replace(first, observation=replace(first.observation, prefill="<think>"))
    made = example_of(conversation_of(replace(episode, turns=(begun, second, *others)), "text"))
    assert second.action == "<think>" + made.replies[1].text


def test_special_tokens_in_a_text_stay_text(chat):
    example = Example("a", Message("Say <|image_pad|>.", ()), (Reply("<|im_end|><|image_pad|>"),))
    ids = encode_example(chat, example, FACTOR).ids.tolist()
    assert chat.image_token not in ids
    own = encode_example(chat, example, FACTOR)
    assert own.ids[own.mask].tolist().count(chat.end_of_turn) == 1


def test_an_image_that_the_model_does_not_take_is_told(chat, oracle_run):
    episode = next(iter(read_trajectories(oracle_run)))
    with pytest.raises(UsageError, match="multiples of 32"):
        encode_example(chat, example_of(conversation_of(episode, "text")), 32)


# --- batches ---


def test_a_batch_has_the_patches_of_qwens_processor(chat, config, oracle_run):
    examples = [example_of(conversation_of(each, "text")) for each in read_trajectories(oracle_run)]
    batch = Collator(examples, chat, config)([{COLUMN: 1}, {COLUMN: 4}])
    pictures = [Image.fromarray(image.pixels()) for row in (1, 4) for image in examples[row].images]
    processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=2**24)
    theirs = processor(pictures, return_tensors="pt")
    assert torch.equal(batch["image_grid_thw"], theirs["image_grid_thw"])
    assert float((batch["pixel_values"] - theirs["pixel_values"]).abs().max()) < 1e-5
    shown = int((batch["input_ids"] == chat.image_token).sum())
    assert shown == len(theirs["pixel_values"]) // 4 == int(batch["mm_token_type_ids"].sum())


def test_padding_is_not_trained_on_and_not_attended(chat, config, oracle_run):
    examples = [example_of(conversation_of(each, "text")) for each in read_trajectories(oracle_run)]
    short = Example("short", Message("Which?", ()), (Reply("red"),))
    batch = Collator([*examples, short], chat, config)([{COLUMN: 0}, {COLUMN: len(examples)}])
    for row, example in enumerate((examples[0], short)):
        tokens = encode_example(chat, example, FACTOR)
        length = len(tokens)
        assert batch["input_ids"][row, :length].tolist() == tokens.ids.tolist()
        assert batch["labels"][row, :length].tolist() == np.where(tokens.mask, tokens.ids, -100).tolist()
        assert (batch["labels"][row, length:] == -100).all()
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (batch["labels"].shape[1] - length)


def test_a_batch_without_images_has_no_patches(chat, config):
    batch = Collator([Example("a", Message("Which?", ()), (Reply("red"),))], chat, config)([{COLUMN: 0}])
    assert set(batch) == {"input_ids", "attention_mask", "labels", "mm_token_type_ids"}


# --- what is read ---


def test_only_right_and_clean_episodes_of_runs_are_imitated(noisy_run):
    episodes = list(read_trajectories(noisy_run))
    kept = sum(not Selection(right=True, clean=True).reason_to_skip(each) for each in episodes)
    plan = check(load_settings(), [noisy_run])
    assert 0 < len(plan.examples) == kept < len(episodes)
    assert sum(plan.sources[0].left_out.values()) == len(episodes) - kept
    everything = check(load_settings(["right=false", "clean=false"]), [noisy_run])
    assert len(everything.examples) + sum(everything.sources[0].left_out.values()) == len(episodes)
    assert len(everything.examples) > kept


def test_a_run_and_its_data_files_are_the_same_examples(tmp_path, oracle_run, chat):
    episodes = list(read_trajectories(oracle_run))
    for format, name in (("messages", "a.json"), ("sharegpt", "b.jsonl")):
        export(episodes, tmp_path / name, format)
    plan = check(load_settings(), [oracle_run, tmp_path / "a.json", tmp_path / "b.jsonl"])
    assert [source.kept for source in plan.sources] == [len(episodes)] * 3
    played_, *written = (
        plan.examples[start::1][: len(episodes)] for start in range(0, 3 * len(episodes), len(episodes))
    )
    for read in written:
        for one, other in zip(played_, read, strict=True):
            ours, theirs = (encode_example(chat, each, FACTOR) for each in (one, other))
            assert ours.ids.tolist() == theirs.ids.tolist()
            assert ours.mask.tolist() == theirs.mask.tolist()
            for image, same in zip(ours.images, theirs.images, strict=True):
                assert (image.pixels() == same.pixels()).all()


def test_images_of_a_data_file_are_fitted(tmp_path):
    Image.new("RGB", (901, 301), "red").save(tmp_path / "wide.png")
    said = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "Red."}]
    (tmp_path / "a.json").write_text(json.dumps([{"messages": said, "images": ["wide.png"]}]))
    plan = check(load_settings(["max_pixels=50000"]), [tmp_path / "a.json"])
    [image] = plan.examples[0].images
    width, height = image.size
    assert width % FACTOR == height % FACTOR == 0
    assert width * height <= 50000
    assert image.pixels().shape == (height, width, 3)


def test_examples_are_left_out_rather_than_cut(noisy_run):
    every = ["right=false", "clean=false"]
    lengths = check(load_settings(every), [noisy_run]).lengths
    most = sorted(lengths)[len(lengths) // 2]
    plan = check(load_settings([*every, f"max_tokens={most}"]), [noisy_run])
    assert sorted(plan.lengths) == sorted(each for each in lengths if each <= most)
    assert plan.sources[0].left_out[f"more than {most} tokens"] == sum(each > most for each in lengths) > 0


def test_nothing_left_says_why(oracle_run):
    with pytest.raises(DataError, match="more than 10 tokens"):
        check(load_settings(["max_tokens=10"]), [oracle_run])
    with pytest.raises(DataError, match="reward below 100"):
        check(load_settings(["min_reward=100"]), [oracle_run])


def test_calls_beside_the_text_are_refused(native_run):
    with pytest.raises(UsageError, match="native"):
        check(load_settings(), [native_run])


# --- settings and the command ---


@pytest.mark.parametrize(
    ("argument", "error", "told"),
    [
        ("model=nowhere", UsageError, "nowhere"),
        ("lorra=4", UnknownNameError, "lora"),
        ("tools=some", UsageError, "tools"),
        ("min_pixels=4000000", UsageError, "max_pixels"),
        ("sft.max_length=100", UsageError, "sft.max_length"),
        ("lr=0", UsageError, "lr"),
    ],
)
def test_what_is_wrong_with_settings_is_said(oracle_run, argument, error, told):
    with pytest.raises(error, match=told):
        check(load_settings([argument]), [oracle_run])


@pytest.mark.parametrize("name", ["gone", "gone.json", "gone.csv"])
def test_a_source_that_is_not_there_is_named(name):
    with pytest.raises(UsageError, match=name):
        check(load_settings(), [BASE.parent / name])


def test_trls_own_arguments_win():
    made = sft_arguments(load_settings(["batch=2", "sft.weight_decay=0.1", "sft.logging_steps=5"]))
    assert made["weight_decay"] == 0.1
    assert made["logging_steps"] == 5
    assert made["per_device_train_batch_size"] == 2


def run_command(*arguments):
    return CliRunner().invoke(app, ["sft", *arguments])


def test_a_dry_run_prints_examples_and_tokens_and_writes_nothing(tmp_path, oracle_run):
    plan = check(load_settings(), [oracle_run])
    done = run_command(str(oracle_run), "--dry-run", f"out={tmp_path / 'run'}", "lora=8", "epochs=2")
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(done.output)["lora"] == 8
    assert f"{len(plan.examples)} examples" in done.output
    assert f"{sum(plan.lengths)} tokens, of which {sum(plan.trained)} are trained on" in done.output
    assert "[[" in done.output
    assert "4 steps" in done.output
    assert not (tmp_path / "run").exists()


def test_the_command_wants_something_to_imitate():
    done = run_command("lora=8", "--dry-run")
    assert done.exit_code == 1
    assert "folders of runs" in done.output
