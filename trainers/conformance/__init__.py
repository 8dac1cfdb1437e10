"""Whether a model directory gives a conversation the same tokens everywhere: in trainers, and behind chat endpoints.

``recordings`` plays recorded episodes, ``directory`` reads a model directory without its weights, ``ways`` writes an
episode as tokens in each way, ``drift`` compares two of them and says why they differ, ``check`` does it all.
"""

from deepeyes_env.extras import require_extra

require_extra("transformers", "torch", "transformers")
