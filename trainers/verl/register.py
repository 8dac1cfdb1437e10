"""register: makes agent loop, advantages, reward manager and trainer known to verl, by being imported.

``VERL_USE_EXTERNAL_MODULES=deepeyes_env.trainers.verl.register`` has verl import it in each of its processes; plugins
with toolboxes and rubrics of one's own stand behind it, after a comma.
"""

from deepeyes_env.trainers.verl import advantage, agent_loop, mends, reward_manager, trainer

__all__ = ["advantage", "agent_loop", "mends", "reward_manager", "trainer"]

mends.mend_verl()
