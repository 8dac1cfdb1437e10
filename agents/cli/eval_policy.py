"""Who plays in ``deepeyes eval``: a served model, a local one, or a scripted agent; and what its episodes need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepeyes_env.agents.cli.eval_options import EvalOptions
from deepeyes_env.agents.families import local_families
from deepeyes_env.agents.hub import model_directory
from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.images import ViewBudget
from deepeyes_env.judges.llm_endpoint import LOCAL


def make_policy(options: EvalOptions, frame: Any, **served: Any) -> Any:
    """Return the agent that is evaluated; servers have been found to serve their model.

    Args:
        options: The command's options.
        frame: Coordinate frame that a model writes boxes in; a scripted agent writes the environment's.
        **served: Further arguments of the agent of a served model.
    """
    if options.agent:
        from deepeyes_env.agents import make_agent

        return make_agent(options.agent, seed=options.seed, max_turns=options.max_turns)
    return _local_model(options, frame) if options.is_local else _served_model(options, served)


def _served_model(options: EvalOptions, served: Mapping[str, Any]) -> Any:
    from deepeyes_env.agents.openai import OpenAIAgent

    player = OpenAIAgent(
        options.model,
        options.base_url or [LOCAL],
        seed=options.seed,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        stop="auto" if options.stop else (),
        timeout=options.timeout,
        retries=options.retries,
        concurrency=options.concurrency,
        **served,
    )
    player.check()
    return player


def _local_model(options: EvalOptions, frame: Any) -> Any:
    with needs_extra("transformers"):
        import torch

        from deepeyes_env.agents.transformers.agent import TransformersAgent
        from deepeyes_env.agents.transformers.generator import Sampling
        from deepeyes_env.agents.transformers.policy import ANY, check_directory
        from deepeyes_env.agents.transformers.processor_agent import ProcessorAgent
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    if options.temperature is None or options.max_tokens is None:
        raise UsageError("--temperature none and --max-tokens none are for servers; a local model needs both")
    sampling = Sampling(options.temperature, options.max_tokens)
    kind = check_directory(model_directory(options.model), ANY)
    player = TransformersAgent if kind in local_families() else ProcessorAgent
    return player(options.model, sampling=sampling, seed=options.seed, frame=frame, device=device, dtype=dtype)


def frame_for(model: str, frame: str, *, needed: bool) -> Any:
    """Return the frame that a model writes boxes in; where it writes none, any will do."""
    from deepeyes_env.agents.families import frame_of

    try:
        return frame_of(model, frame or None)  # type: ignore[arg-type]  # checked there
    except UnknownNameError:
        raise
    except ValueError as error:
        if not (needed or frame):
            return "view"
        raise UsageError(str(error).replace("frame=", "--frame ")) from error


def view_for(model: str, dataset: Any, asked: ViewBudget | None) -> dict[str, ViewBudget]:
    """Return the view budget of a model's family as an option, where it is not what would be shown anyway."""
    from deepeyes_env.agents.families import family_of

    usual = asked or getattr(dataset, "view", None) or ViewBudget()
    try:
        view = family_of(model).view_within(usual)
    except UsageError:
        return {}
    return {} if view == usual else {"view": view}
