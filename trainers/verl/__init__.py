"""Our environments inside verl 0.9: an agent loop, a data set, a reward function, tools, an advantage estimator.

Nothing here is imported by ``import deepeyes_env.trainers``. verl imports ``register``, which
``VERL_USE_EXTERNAL_MODULES`` names, in each of its processes; ``docs/verl.md`` says how to start.
"""
