"""Local vision-language models, run with transformers: chat, images, sampling.

Heavy: importing this package's modules imports torch and transformers.
"""

from deepeyes_env.extras import require_extra

require_extra("transformers", "torch", "transformers")
