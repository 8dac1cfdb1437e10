"""Local vision-language models of the Qwen2.5-VL kind, run with transformers: chat, images, sampling.

Heavy: importing this package's modules imports torch and transformers.
"""

from deepeyes_env.extras import require_extra

require_extra("transformers", "torch", "transformers")
