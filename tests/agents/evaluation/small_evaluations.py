"""Evaluations of a few questions, and agents and judges to watch them with."""

from collections import Counter

from deepeyes_env import Sample, agents
from deepeyes_env.agents.evaluation import Scoring, evaluate
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.errors import JudgeError
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge
from tests.conftest import pattern

BENCHMARK = Benchmark("mine", "My benchmark", "", "choice", "rules", ("category", "skills"))


RULES = Scoring(RuleJudge(), "rules")


def samples(count=6, broken=()):
    images = [encode(pattern(200 + 10 * i, 160), format="png") for i in range(3)]
    return [
        Sample(
            f"s{i}",
            f"Question {i}?",
            "yes",
            images[i % 3][:80] if i in broken else images[i % 3],
            options=("yes", "no", "maybe"),
            boxes=((20, 20, 120, 100),),
            metadata={"category": "even" if i % 2 == 0 else "odd", "skills": ["see", "count"] if i < 2 else ["see"]},
        )
        for i in range(count)
    ]


class Spy:
    """Another agent, and what it was asked."""

    def __init__(self, agent="oracle", name=None):
        self.agent = agents.make_agent(agent)
        self.name = name or self.agent.name
        self.asked = []

    def act(self, episodes):
        self.asked += [(episode.sample.id, episode.toolbox, episode.metadata["seed"]) for episode in episodes]
        return self.agent.act(episodes)


class Away:
    """A judge that cannot be reached about some samples."""

    def __init__(self, *unreachable):
        self.unreachable = unreachable
        self.asked = Counter()

    def __call__(self, prediction, sample):
        self.asked[sample.id] += 1
        if sample.id in self.unreachable:
            raise JudgeError("no route to host")
        return RuleJudge()(prediction, sample)


def run(out, agent="oracle", scoring=RULES, dataset=None, **options):
    agent = agents.make_agent(agent) if isinstance(agent, str) else agent
    dataset = samples() if dataset is None else dataset
    return evaluate(BENCHMARK, dataset, agent, scoring, out=out, progress=False, **options)
