"""Many environments at once: in the threads of one process, or in the processes of a Ray cluster."""

from deepeyes_env.envs.vector.backends import BACKENDS, make_vector_env, register_backend
from deepeyes_env.envs.vector.base import BatchedVectorEnv
from deepeyes_env.envs.vector.messages import Outcome, Reset, Step, Truncate
from deepeyes_env.envs.vector.ray import RayVectorEnv
from deepeyes_env.envs.vector.thread import ThreadVectorEnv

__all__ = [
    "BACKENDS",
    "BatchedVectorEnv",
    "Outcome",
    "RayVectorEnv",
    "Reset",
    "Step",
    "ThreadVectorEnv",
    "Truncate",
    "make_vector_env",
    "register_backend",
]
