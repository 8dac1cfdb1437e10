"""SkyRL-Gym plays an episode of examples/skyrl_env.py."""

import json

import skyrl_gym

from tests.libraries.episode import ANSWER, ZOOM, shape_of

skyrl_gym.register(id="deepeyes", entry_point="examples.skyrl_env:DeepEyes")
env = skyrl_gym.make("deepeyes", env_config={"dataset": "visual_search"}, extras={"index": 2})
prompt, told = env.init([])
looked = env.step(ZOOM)
ended = env.step(ANSWER)
env.close()
result = {
    "sample": told["sample_id"],
    "prompt": shape_of(prompt),
    "looked": shape_of(looked["observations"]),
    "done": [looked["done"], ended["done"]],
    "after": ended["observations"],
    "terms": ended["metadata"],
    "reward": ended["reward"],
}
print(json.dumps(result))
