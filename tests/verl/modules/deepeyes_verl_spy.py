"""Loaded by verl beside our own modules: a trainer that writes down what it trains on, token by token."""

import json
import os
from pathlib import Path

import transfer_queue
from verl.trainer.ppo.v1 import register_trainer

from deepeyes_env.trainers.verl.trainer import DeepEyesTrainer

FIELDS = ["prompts", "responses", "response_mask", "loss_mask", "rollout_log_probs", "old_log_probs", "advantages"]


@register_trainer("spy")
class SpyTrainer(DeepEyesTrainer):
    def add_metrics(self, batch, metrics):
        super().add_metrics(batch, metrics)
        fields = [*FIELDS, "rm_scores", "extra_fields", "uid", "deepeyes"]
        data = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        rows = []
        for number in range(len(batch.keys)):
            row = {name: data[name][number].tolist() for name in FIELDS if name in data}
            row["reward"] = float(data["rm_scores"][number].sum())
            for name in ("extra_fields", "uid", "deepeyes"):
                value = list(data[name])[number]
                row[name] = getattr(value, "data", value)
            rows.append(row)
        record = {
            "step": self.global_steps,
            "rows": rows,
            "metrics": {name: float(value) for name, value in metrics.items()},
        }
        with Path(os.environ["DEEPEYES_SPY"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")
