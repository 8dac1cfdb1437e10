"""The stages that ask a model: what they label, what they share, and what they withstand."""

from collections import Counter
from dataclasses import replace

import pytest

from deepeyes_env import Sample
from deepeyes_env.agents.curation import (
    Asking,
    LabelTable,
    begin_curation,
    label_answers,
    label_by_model,
    label_format,
    parse_keep,
    take_decisions,
    write_report,
)
from deepeyes_env.agents.curation.asking import Tally
from deepeyes_env.agents.curation.label_file import label_path, read_labels
from deepeyes_env.agents.curation.label_rules import arithmetic, objections
from deepeyes_env.agents.curation.model_stages import change_interval
from deepeyes_env.agents.evaluation import Scoring
from deepeyes_env.data import write_jsonl
from deepeyes_env.errors import UsageError
from tests.agents.evaluation.small_evaluations import RULES, Away, samples
from tests.conftest import zoom_text

K = 4


class Looker:
    """Right by itself about samples 0 and 1, half of the time about 2; otherwise when it was shown or has zoomed."""

    name = "looker"

    def __init__(self):
        self.asked = []

    def act(self, episodes):
        self.asked += [(each.sample.id, len(each.prompt.images), each.toolbox, len(each.turns)) for each in episodes]
        return [self._say(each) for each in episodes]

    def _say(self, episode):
        number, repeat = int(episode.sample.id[1:]), self._repeat(episode)
        if episode.toolbox and not episode.turns:
            return zoom_text([20, 20, 120, 100])
        looked = len(episode.prompt.images) > 1 or episode.toolbox
        right = number < 2 or (number == 2 and repeat % 2 == 0) or (looked and number < 5)
        wrong = next(each for each in episode.sample.options if each != episode.sample.answer)
        return f"<answer>{episode.sample.answer if right else wrong}</answer>"

    @staticmethod
    def _repeat(episode):
        return episode.metadata["episode"] // (3 * 6)


class Silent:
    name = "silent"

    def act(self, episodes):
        return ["" for _ in episodes]


def asking(agent, **options):
    return Asking(agent, options.pop("scoring", RULES), **{"k": K, "progress": False, **options})


def curation(tmp_path, dataset=None):
    begun = begin_curation(tmp_path / "out", "pattern_search", {"open": False})
    begun = replace(begun, dataset=dataset or samples())
    label_format(begun.dataset, begun.folder, progress=False)
    return begun


def lines(begun, stage):
    return {each.row: each for each in read_labels(label_path(begun.folder, stage))}


def labels(begun, stage, name):
    return {row: each.labels[name] for row, each in lines(begun, stage).items() if each.labels}


def test_answers_without_tools_are_shared_by_all_stages(tmp_path):
    begun, agent = curation(tmp_path), Looker()
    label_by_model(begun, "difficulty", asking(agent))
    assert labels(begun, "difficulty", "difficulty") == {0: 1, 1: 1, 2: 0.5, 3: 0, 4: 0, 5: 0}
    assert len(agent.asked) == 6 * K
    label_by_model(begun, "utility", asking(agent))
    assert labels(begun, "utility", "utility") == {0: 0, 1: 0, 2: 0.5, 3: 1, 4: 1, 5: 0}
    assert len(agent.asked) == 2 * 6 * K
    label_by_model(begun, "gain", asking(agent))
    assert labels(begun, "gain", "gain") == {0: 0, 1: 0, 2: 0.5, 3: 1, 4: 1, 5: 0}
    assert len(agent.asked) == 4 * 6 * K, "with tools it says two messages an episode"
    low, high = (labels(begun, "gain", name) for name in ("gain_low", "gain_high"))
    assert all(low[row] <= gain <= high[row] for row, gain in labels(begun, "gain", "gain").items())
    assert low[3] > 0 > low[2]
    label_answers(begun, asking(agent))
    for stage in ("difficulty", "utility", "gain"):
        label_by_model(begun, stage, asking(agent))
    assert len(agent.asked) == 4 * 6 * K, "nothing is asked twice"
    assert labels(begun, "label", "agreement") == {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 0}


def test_more_answers_may_be_asked_later(tmp_path):
    begun, agent = curation(tmp_path), Looker()
    label_by_model(begun, "difficulty", asking(agent, k=2), limit=3)
    assert (len(agent.asked), sorted(lines(begun, "difficulty"))) == (6, [0, 1, 2])
    label_by_model(begun, "difficulty", asking(agent, k=3))
    assert len(agent.asked) == 18


def test_only_those_for_which_a_condition_holds_are_asked(tmp_path):
    begun, agent = curation(tmp_path), Looker()
    label_by_model(begun, "difficulty", asking(agent))
    label_by_model(begun, "gain", asking(agent), only=parse_keep("0 < difficulty < 1"))
    assert labels(begun, "gain", "gain").keys() == {2}
    assert lines(begun, "gain")[0].reason == "not asked: 0 < difficulty < 1 does not hold"
    assert len(agent.asked) == 6 * K + 2 * K


def test_answers_with_tools_at_hand_and_no_call_are_counted_apart(tmp_path):
    class Seldom(Looker):
        """Does not zoom for samples 0 to 2, and is right about the first of them only."""

        def act(self, episodes):
            return [self._seldom(each, said) for each, said in zip(episodes, super().act(episodes), strict=True)]

        @staticmethod
        def _seldom(episode, said):
            number = int(episode.sample.id[1:])
            return said if number > 2 else f"<answer>{'nothing' if number else episode.sample.answer}</answer>"

    begun = curation(tmp_path)
    label_by_model(begun, "gain", asking(Seldom()))
    unaided = {row: each.labels.get("unaided") for row, each in lines(begun, "gain").items()}
    assert unaided == {0: 1, 1: 0, 2: 0, 3: None, 4: None, 5: None}


def test_a_question_without_a_box_has_no_utility_and_says_why(tmp_path):
    dataset = [replace(each, boxes=()) if each.id == "s1" else each for each in samples()]
    begun, agent = curation(tmp_path, dataset), Looker()
    label_by_model(begun, "utility", asking(agent))
    assert labels(begun, "utility", "utility").keys() == {0, 2, 3, 4, 5}
    assert "no true box" in lines(begun, "utility")[1].reason


def test_rows_that_cannot_be_read_have_a_reason_in_every_stage(tmp_path):
    begun, agent = curation(tmp_path, samples(broken=(1, 4))), Looker()
    for stage in ("difficulty", "utility", "gain"):
        label_by_model(begun, stage, asking(agent, k=1))
    label_answers(begun, asking(agent, k=1))
    for stage in ("format", "label", "difficulty", "utility", "gain"):
        found = lines(begun, stage)
        assert {row for row, each in found.items() if each.reason} == {1, 4}
        assert {row for row, each in found.items() if each.labels} == {0, 2, 3, 5}
    assert not {"s1", "s4"} & {name for name, *_ in agent.asked}


def test_a_model_that_answers_nothing_is_never_right(tmp_path):
    begun = curation(tmp_path)
    for stage in ("difficulty", "gain"):
        label_by_model(begun, stage, asking(Silent()))
    label_answers(begun, asking(Silent()))
    assert set(labels(begun, "difficulty", "difficulty").values()) == {0}
    assert set(labels(begun, "gain", "gain").values()) == {0}
    assert set(labels(begun, "label", "label_ok").values()) == {1}, "silence speaks against nothing"


def test_a_judge_that_is_down_costs_no_second_answer(tmp_path):
    begun, agent = curation(tmp_path), Looker()
    label_by_model(begun, "difficulty", asking(agent, scoring=Scoring(Away("s1"), "rules")))
    lost = lines(begun, "difficulty")[1]
    assert (lost.labels, lost.again) == ({}, True)
    assert "0 of 4 answers could be had: no route to host" in lost.reason
    before = len(agent.asked)
    label_by_model(begun, "difficulty", asking(agent))
    assert labels(begun, "difficulty", "difficulty")[1] == 1
    assert len(agent.asked) == before


# --- the stage label --------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_wrong_answers_are_listed_and_a_person_has_the_last_word(tmp_path):
    dataset = [replace(each, answer="no") if each.id in ("s0", "s3") else each for each in samples()]
    begun = curation(tmp_path, dataset)

    class Sure(Looker):
        def _say(self, episode):
            return "<answer>yes</answer>"

    label_answers(begun, asking(Sure()))
    assert {row for row, ok in labels(begun, "label", "label_ok").items() if not ok} == {0, 3}
    assert lines(begun, "label")[0].found["against"] == ["the second model says yes in 4 of 4 answers"]
    saved = tmp_path / "decisions.json"
    saved.write_text('{"0": "right", "5": "wrong"}')
    assert take_decisions(begun.folder, saved, 6) == 2
    label_answers(begun, asking(Sure()))
    assert {row for row, ok in labels(begun, "label", "label_ok").items() if not ok} == {3, 5}
    page = write_report(begun)
    assert page["disagreements"] == 2
    html = (begun.folder / "disagreements.html").read_text()
    assert html.count("<article") == 2
    assert html.count(">the answer is right</button>") == html.count(">the answer is wrong</button>") == 2
    assert 'data-said="right"' in html


@pytest.mark.parametrize("text", ["[]", "{", '{"0": "maybe"}', '{"-1": "right"}', '{"6": "right"}', '{"x": "right"}'])
def test_other_files_are_no_decisions(tmp_path, text):
    (tmp_path / "decisions.json").write_text(text)
    with pytest.raises(UsageError, match=r"decisions.json: (holds no decisions|decides on row 6)"):
        take_decisions(tmp_path, tmp_path / "decisions.json", 6)


def test_rows_that_contradict_each_other(tmp_path):
    one, *rest = samples()
    begun = curation(tmp_path, [one, *rest, replace(one, id="again", answer="no")])
    label_answers(begun)
    found = lines(begun, "label")
    assert found[0].found["against"] == ["row 6 has another answer to the same question"]
    assert found[6].found["against"] == ["row 0 has another answer to the same question"]
    assert {row for row, ok in labels(begun, "label", "label_ok").items() if not ok} == {0, 6}


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("How many dogs are there?", "brown", "no number"),
        ("How many dogs are there?", "three", ""),
        ("How many dogs are there?", "no dogs", ""),
        ("Is there a dog?", "brown", "neither"),
        ("Is there a dog?", "Yes, two.", ""),
        ("Is the dog or the cat larger?", "dog", ""),
        ("What color is the dog?", "2", "a colour is asked"),
        ("What color is the dog?", "taupe", ""),
        ("What is 12 + 7?", "18", "12 + 7 is 19"),
        ("12 + 7 = ?", "19", ""),
        ("Calculate (3 + 5) × 2.", "13", "is 16"),
        ("What is 7 / 2?", "3.5", ""),
        ("What is it?", "x" * 1000, "1000 characters"),
    ],
)
def test_rules(question, answer, told):
    found = objections(Sample("s", question, answer, samples()[0].images))
    assert (told in " ".join(found)) if told else not found


def test_a_box_outside_the_image():
    sample = replace(samples()[0], boxes=((500, 20, 620, 100),))
    assert objections(sample) == ["the box [500, 20, 620, 100] is outside the image of 200 x 160"]


@pytest.mark.parametrize("text", ["2 ** 9", "9" * 70, "abs(-1)", "5", "(1, 2)", "1 / 0", "1 +", "__import__('os')"])
def test_what_is_no_sum_of_numbers(text):
    assert arithmetic(text) is None


# --- figures ----------------------------------------------------------------------------------------------------------


def test_the_interval_of_a_change():
    none, all_right = Tally(0, 0b1111), Tally(0b1111, 0b1111)
    assert change_interval(none, all_right).low > 0
    assert change_interval(all_right, none).high < 0
    assert change_interval(none, none).low < 0 < change_interval(none, none).high
    apart = change_interval(Tally(0, 0b0011), Tally(0b1100, 0b1100))
    assert (apart.low, apart.high) == (-1, 1), "no repeat was answered under both conditions"


@pytest.mark.integration
def test_the_report_counts_what_presets_keep(tmp_path):
    begun, agent = curation(tmp_path), Looker()
    assert "lacks" in write_report(begun)["presets"]["tool_gain"]
    for stage in ("difficulty", "utility", "gain"):
        label_by_model(begun, stage, asking(agent))
    label_answers(begun, asking(agent))
    report = write_report(begun)
    assert report["presets"]["tool_gain"]["kept"] == 3
    assert report["labels"]["difficulty"]["mean"] == pytest.approx(2.5 / 6)
    assert sum(count for *_, count in report["labels"]["gain"]["bins"]) == 6
    assert report["boxes"]["iou_half"] == 1.0
    assert report["boxes"]["helps"] == 3
    text = (begun.folder / "report.md").read_text()
    for link in ("plots/labels.png", "plots/filters.png", "plots/boxes.png", "pages/answers-shown/index.html"):
        assert link in text
        assert (begun.folder / link).is_file()


def test_every_row_of_the_table_has_a_label_or_a_reason(tmp_path):
    begun = curation(tmp_path, samples(broken=(2,)))
    label_by_model(begun, "difficulty", asking(Looker(), k=1), limit=4)
    table = LabelTable(begun.folder, 6)
    for row in range(6):
        assert ("difficulty" in table.of(row)) != (row in table.reasons("difficulty"))
    assert Counter(table.reasons("difficulty").values())["not looked at yet"] == 2


def test_data_of_a_file_is_asked_in_its_open_form(tmp_path):
    dataset = [replace(each, question="Is there a dog?") for each in samples(2)]
    write_jsonl([replace(each, options=("yes", "no")) for each in dataset], tmp_path / "data.jsonl")
    begun, seen = begin_curation(tmp_path / "out", tmp_path / "data.jsonl"), []

    class Reader(Looker):
        def act(self, episodes):
            seen.extend(each.sample.options for each in episodes)
            return ["<answer>yes</answer>"] * len(episodes)

    label_format(begun.dataset, begun.folder)
    label_by_model(begun, "difficulty", asking(Reader(), k=1))
    assert seen == [(), ()]
    assert labels(begun, "difficulty", "difficulty") == {0: 1, 1: 1}
