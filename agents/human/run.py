"""play_by_hand: a person plays episodes, and they are recorded like any other run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.human.server import serving
from deepeyes_env.agents.human.session import Session, Stopped
from deepeyes_env.agents.play import Episode, Failure, play
from deepeyes_env.agents.run_folder import RunFolder
from deepeyes_env.envs.prompt_files import recordable
from deepeyes_env.envs.toolbox import check_is_ours
from deepeyes_env.envs.vector import BatchedVectorEnv
from deepeyes_env.errors import UsageError
from deepeyes_env.seeds import check_seed
from deepeyes_env.trajectories import Summary, TrajectoryWriter, read_trajectories, summarise


def play_by_hand(
    env: str,
    *,
    episodes: int,
    out: str | Path,
    announce: Callable[[str], None],
    seed: int = 0,
    in_order: bool = False,
    overwrite: bool = False,
    port: int = 0,
    **env_kwargs: Any,
) -> Summary:
    """Let a person play episodes in a web page; return when all are played or the person stops.

    Episodes, seeds and records are those of ``agents.rollout`` with an agent named ``human``. A run folder of the
    same settings is continued.

    Args:
        env: Environment id.
        episodes: How many episodes the run has, those that are recorded already included.
        out: Run folder; each episode is recorded as it ends.
        announce: Is told the address of the page once it is served, on 127.0.0.1 only.
        seed: Seed of episode 0; episode ``e`` has ``seed + e``.
        in_order: Episode ``e`` plays sample ``e`` of the data set, instead of the one that its seed draws.
        overwrite: Delete the run that ``out`` holds instead of continuing it.
        port: Port of the page; 0 for any free one.
        **env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``.

    Raises:
        UsageError: An argument is wrong; ``out`` holds a run of other settings, or one that is complete.
        FileExistsError: ``out`` holds something else.
        OSError: The port is taken.
    """
    if episodes < 1:
        raise UsageError(f"episodes={episodes}: must be at least 1")
    check_seed(seed)
    env_kwargs = recordable(env_kwargs)
    with ExitStack() as stack:
        vector = stack.enter_context(closing(_make(env, env_kwargs)))
        settings = {"env": env, "agent": Session.name, "seed": seed, "in_order": in_order, **env_kwargs}
        folder = RunFolder.prepare(out, settings, "overwrite" if overwrite else "resume")
        samples = len(vector.call("dataset")[0]) if in_order else 0
        plan = [
            Episode(number, seed + number, number % samples if samples else None)
            for number in range(episodes)
            if number not in folder.finished
        ]
        if not plan:
            raise UsageError(
                f"{out}: all {episodes} episodes are played; ask for more, overwrite the run, or give another folder"
            )
        max_turns = vector.call("limits")[0].max_turns
        session = Session(episodes, max_turns, read_trajectories(folder.path) if folder.finished else ())
        writer = stack.enter_context(TrajectoryWriter(folder.path))
        announce(stack.enter_context(serving(session, port)))
        try:
            for ended in play(vector, session, plan, {"env": env}):
                if isinstance(ended, Failure):
                    folder.record_failure(ended)
                else:
                    writer.write(ended)
                session.show(ended)
        except Stopped:
            pass
    return summarise(read_trajectories(out))


def _make(env: str, env_kwargs: dict[str, Any]) -> BatchedVectorEnv:
    check_is_ours(env)
    made = gym.make_vec(env, num_envs=1, autoreset_mode=AutoresetMode.DISABLED, **env_kwargs)
    return cast(BatchedVectorEnv, made)
