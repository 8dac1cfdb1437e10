"""register: makes the agent loop, the advantage estimators and the trainer known to verl, by being imported.

``VERL_USE_EXTERNAL_MODULES=deepeyes_env.trainers.verl.register`` has verl import it in each of its processes; plugins
with toolboxes and rubrics of one's own stand behind it, after a comma.
"""

from deepeyes_env.trainers.verl import advantage, agent_loop, trainer

__all__ = ["advantage", "agent_loop", "trainer"]
