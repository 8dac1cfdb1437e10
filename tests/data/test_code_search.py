"""Questions that want a program or a search: true, split for good, solved by their solutions, and not by zooms."""

import json
import pickle
from collections import Counter
from dataclasses import asdict
from math import sqrt

import numpy as np
import pytest
from PIL import Image

from deepeyes_env import agents, register_toolbox
from deepeyes_env.agents.reader import read_pattern
from deepeyes_env.data import load
from deepeyes_env.data.visual_search import CodeSearch, write_facts
from deepeyes_env.data.visual_search.code_questions import KINDS
from deepeyes_env.data.visual_search.facts import FILE
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.errors import UsageError
from deepeyes_env.sandbox import Session, get_sandbox
from deepeyes_env.tools import PythonTool, SearchTool
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.export import export
from tests.sandbox.conftest import local_sandbox

NEEDS_MORE = ("count", "length", "contrast", "rotation", "document")


@pytest.fixture(scope="module")
def sandbox():
    return local_sandbox(get_sandbox())


@pytest.fixture(scope="module")
def toolbox(tmp_path_factory):
    """DeepEyesV2's tools, with a search of the documents."""
    facts = write_facts(tmp_path_factory.mktemp("facts")).parent
    with TOOLBOXES.restored():
        register_toolbox(
            "Facts-v0",
            tools=[PythonTool(), SearchTool(facts)],
            protocol="deepeyes_v2",
            addressing="deepeyes_v2",
            rubric="deepeyes_v2",
            max_turns=9,
        )
        yield "Facts-v0"


def play(env, agent, episodes, **dials):
    dataset = CodeSearch(**{"split": "test", "easy": 0.0, **dials})
    return agents.rollout(env, agent, dataset=dataset, episodes=episodes, progress=False)


def test_it_is_a_data_set_by_name():
    train, test = load("code_search", length=60), load("code_search", split="test", length=60)
    assert list(train) == list(load("code_search", length=60))
    assert train[0] != load("code_search", seed=1)[0]
    assert len(pickle.dumps(train)) < 700
    assert load(json.loads(json.dumps(asdict(train)))) == train
    seen = Counter(sample.metadata["task"] for sample in train)
    assert set(seen) == {*KINDS, "look"}
    for sample in train:
        assert json.loads(json.dumps(sample.metadata)) == sample.metadata
        assert sample.answer in sample.options
        assert len(set(sample.options)) == 4
        needs = {"look": "nothing", "zoom": "zoom", "document": "search"}.get(sample.metadata["task"], "code")
        assert sample.metadata["needs"] == needs
        assert [call["name"] for call in sample.metadata["solution"]] == {
            "nothing": [],
            "search": ["search"],
        }.get(needs, ["python"])
    digests = [{sample.images[0].digest for sample in samples} for samples in (train, test)]
    assert digests[0].isdisjoint(digests[1])
    towns = [
        {sample.question.split()[-1] for sample in samples if sample.metadata["task"] == "document"}
        for samples in (train, test)
    ]
    assert min(map(len, towns)) > 2
    assert towns[0].isdisjoint(towns[1])


@pytest.mark.parametrize(
    "dials",
    [
        {"kinds": ("dance",)},
        {"kinds": ()},
        {"difficulty": 1.5},
        {"size": (300, 448)},
        {"tasks": ("text",)},
        {"shapes": ("circle",)},
    ],
)
def test_settings_that_cannot_be_are_refused(dials):
    (name,) = dials
    with pytest.raises(UsageError, match=name):
        CodeSearch(**dials)


def test_difficulty_makes_it_harder():
    def of(kind, difficulty):
        return [CodeSearch(kinds=(kind,), easy=0, difficulty=difficulty)[index] for index in range(40)]

    counts = [max(int(sample.answer) for sample in of("count", difficulty)) for difficulty in (0, 0.5, 1)]
    assert counts == sorted(set(counts))
    gaps = [
        sum(float(sample.options[1]) - float(sample.options[0]) for sample in of("length", difficulty))
        for difficulty in (0, 1)
    ]
    assert gaps[0] > gaps[1]
    strengths = [of("contrast", difficulty)[0].images[0].source.items[0].strength for difficulty in (0, 0.5, 1)]
    assert strengths == sorted(strengths, reverse=True)


def test_the_place_of_the_right_option_tells_nothing():
    for kind in ("count", "length"):
        places = Counter()
        for sample in (CodeSearch(kinds=(kind,), easy=0)[index] for index in range(200)):
            places[sample.options.index(sample.answer)] += 1
            assert list(sample.options) == sorted(sample.options, key=float)
        assert all(abs(number - 50) < 4 * sqrt(37.5) for number in places.values())


def solved(sample):
    """Whether the image and the program alone, without the oracle's knowledge, come to the answer."""
    (call,) = sample.metadata["solution"]
    with Session([sample.images[0].pixels()]) as session:
        result = session.run(call["arguments"]["code"])
    assert not result.error, result.stderr
    if not result.images:
        return result.stdout.strip() == sample.answer
    crop = np.asarray(Image.fromarray(result.images[0]).resize((112, 112)).convert("RGB"))
    return read_pattern(crop, slowest=1 if sample.metadata["task"] != "zoom" else 9) == sample.answer


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "document"])
def test_programs_find_the_answer_in_the_pixels(sandbox, kind):
    dataset = CodeSearch(kinds=(kind,), easy=0, size=(500, 448))
    assert all(solved(dataset[index]) for index in range(2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "document"])
@pytest.mark.parametrize(
    ("dials", "too_faint"),
    [({"difficulty": 0}, 1), ({"difficulty": 1}, 3), ({"size": (1000, 1500), "difficulty": 1}, 8)],
)
def test_programs_find_all_answers_but_a_few_faint_patterns(sandbox, kind, dials, too_faint):
    dataset = CodeSearch(kinds=(kind,), easy=0, split="test", **dials)
    wrong = [index for index in range(60) if not solved(dataset[index])]
    assert len(wrong) <= (too_faint if kind == "contrast" else 0), wrong


def test_the_oracle_writes_code_and_searches(toolbox, sandbox, tmp_path):
    out = tmp_path / "oracle"
    dataset = CodeSearch(easy=0.1)
    wanted = {sample.metadata["task"]: sample for sample in (dataset[index] for index in range(60))}
    run = agents.rollout(
        toolbox, "oracle", dataset=list(wanted.values()), episodes=len(wanted), out=out, progress=False
    )
    assert run.summary.accuracy == 1.0
    assert run.summary.failed_calls == {}
    for episode in run.trajectories:
        called = [result.call.name for result in episode.results]
        task = episode.sample.metadata["task"]
        assert called == {"look": [], "document": ["search"]}.get(task, ["python"])
        if task in ("count", "length", "document"):
            assert episode.sample.answer in episode.turns[0].observation.text
    exported = tmp_path / "messages.json"
    export(read_trajectories(out), exported, format="messages")
    tasks = [episode.sample.metadata["task"] for episode in run.trajectories]
    computed = len(tasks) - sum(map(tasks.count, ("look", "document", "zoom")))
    assert exported.read_text().count("def mask(colour)") == computed > 0


@pytest.mark.integration
def test_without_looking_it_is_chance_and_with_zooms_it_is_less_than_sixty_percent():
    blind, zooming = (
        play("VisualToolbox-v2", agent, 40, kinds=NEEDS_MORE).summary.accuracy for agent in ("blind", "zoom_reader")
    )
    assert abs(blind - 0.25) < 4 * sqrt(0.25 * 0.75 / 40)
    assert zooming < 0.6
    assert play("VisualToolbox-v2", "zoom_reader", 8, easy=0.3, kinds=("zoom",)).summary.accuracy == 1.0


@pytest.mark.slow
def test_figures(toolbox, sandbox):
    oracle = play(toolbox, "oracle", 400, kinds=KINDS)
    assert (oracle.summary.accuracy, oracle.summary.failed_calls) == (1.0, {})
    for kind in NEEDS_MORE:
        zooming = play("VisualToolbox-v2", "zoom_reader", 400, kinds=(kind,))
        assert zooming.summary.accuracy < 0.6, kind
        blind = play("VisualToolbox-v2", "blind", 400, kinds=(kind,))
        assert abs(blind.summary.accuracy - 0.25) < 4 * sqrt(0.25 * 0.75 / 400), kind


def test_facts_are_written_anew(tmp_path):
    path = write_facts(tmp_path / "facts")
    assert path.name == FILE
    before = path.read_text()
    assert len(before.splitlines()) == 256
    assert write_facts(path.parent).read_text() == before
    (first, *_) = SearchTool(path.parent)(query="Belbury").text.split("\n\n")[1:]
    assert first.startswith("## Web Results\n1. [Belbury](")
