"""verl without a GPU: a platform and a rollout backend with which its trainer runs on a laptop, and in our tests.

``VERL_USE_EXTERNAL_MODULES=deepeyes_env.trainers.verl.cpu.plugin`` loads both.
"""

from deepeyes_env.extras import require_extra

require_extra("verl", "torch", "transformers")
