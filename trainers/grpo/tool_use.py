"""Which tools a policy used, by what its questions need: programs that compute, programs that only crop, searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from deepeyes_env.core import Trajectory
from deepeyes_env.data.visual_search.code_programs import is_crop
from deepeyes_env.tools.python import PythonTool
from deepeyes_env.tools.text_search import SearchTool
from deepeyes_env.trainers.tracking.names import ACCURACY, TASK, USES
from deepeyes_env.trajectories import summarise


def uses_of(trajectory: Trajectory) -> frozenset[str]:
    """Return which of ``USES`` an episode's calls were, those that failed left out."""
    used = set()
    for result in trajectory.results:
        if result.ok and result.call.name == PythonTool.name:
            used.add("zoom" if is_crop(str(result.call.arguments.get("code", ""))) else "code")
        elif result.ok and result.call.name == SearchTool.name:
            used.add("search")
    return frozenset(used)


def tool_use(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return accuracy and the share of episodes with each use, by task and by need; nothing where no sample says.

    ====================  =========================================================================================
    ``task/NAME/...``     ``accuracy``, and ``code``, ``zoom`` and ``search``, over the questions of a task
    ``needs/NAME/...``    likewise, over those that need ``code``, ``search``, ``zoom`` or ``nothing``
    ====================  =========================================================================================
    """
    groups: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for each in trajectories:
        metadata = each.sample.metadata
        if "needs" in metadata:
            groups[f"{TASK}{metadata['task']}/"].append(each)
            groups[f"needs/{metadata['needs']}/"].append(each)
    metrics: dict[str, float] = {}
    for prefix, episodes in sorted(groups.items()):
        right = summarise(episodes).accuracy
        metrics |= {} if right is None else {f"{prefix}{ACCURACY}": right}
        used = [uses_of(each) for each in episodes]
        metrics |= {f"{prefix}{use}": sum(use in each for each in used) / len(used) for use in USES}
    return metrics
