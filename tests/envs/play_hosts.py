"""Play over a Ray cluster of several hosts, one of which is killed on the way; run by test_vector_ray_hosts.py."""

import json
import os
import signal
import subprocess
import sys
import time

import ray

from deepeyes_env.envs.vector import RayVectorEnv, ThreadVectorEnv
from tests.envs.vector_helpers import VIEW, equal, play, samples

ENVS, GROUP, STEPS = 8, 2, 7
address, *hosts = sys.argv[1:]
settings = {"num_envs": ENVS, "group_size": GROUP, "dataset": samples(), "view": VIEW}


def processes(host):
    """Return the processes of a host."""
    return {int(pid) for pid in subprocess.run(["ip", "netns", "pids", host], capture_output=True).stdout.split()}


def where(envs):
    """Return the host of each actor."""
    return [next((host for host in hosts if pid in processes(host)), "") for pid in envs.actor_pids()]


until = time.monotonic() + 300
while not ray.is_initialized():
    try:
        ray.init(address=f"{address}:6379", _node_ip_address=address, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError):
        if time.monotonic() > until:
            raise
        time.sleep(2)
while len([node for node in ray.nodes() if node["Alive"]]) < 1 + len(hosts) and time.monotonic() < until:
    time.sleep(1)
options = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
envs = RayVectorEnv("VisualToolbox-v2", **settings, num_actors=4, actor_options=options)
before = where(envs)


def kill(turn):
    """Kill a host in the middle of the batch, as a power cut would."""
    if turn == 3:
        for pid in processes(hosts[0]):
            os.kill(pid, signal.SIGKILL)


seen = play(envs, STEPS, disturb=kill)
after = where(envs)
threads = ThreadVectorEnv(**settings)
expected = play(threads, STEPS)
result = {"before": before, "after": after, "same": equal(seen, expected), "steps": len(seen)}
sys.stdout.write(json.dumps(result) + "\n")
sys.stdout.flush()
os._exit(0)  # the cluster is ended by who started it
