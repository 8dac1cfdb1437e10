"""Minari records episodes and gives them back."""

import json

import minari
import numpy as np

from tests.libraries.task import task

env = minari.DataCollector(task(), record_infos=True)
played = []
for seed in range(4):
    _, info = env.reset(seed=seed)
    over, rewards = False, []
    while not over:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample(mask=info["action_mask"]))
        over = terminated or truncated
        rewards.append(float(reward))
    played.append(rewards)
data = env.create_dataset(dataset_id="deepeyes/looks-v0", algorithm_name="random", author="tests")
again = minari.load_dataset("deepeyes/looks-v0")
kept = list(again.iterate_episodes())
same = all(np.allclose(episode.rewards, rewards) for episode, rewards in zip(kept, played, strict=True))
images = {episode.observations["image"].shape[1:] for episode in kept}
infos = sorted(kept[0].infos)
recovered = again.recover_environment().action_space == env.action_space
print(json.dumps({"episodes": len(kept), "same": same, "images": list(images), "infos": infos, "again": recovered}))
