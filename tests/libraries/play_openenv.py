"""OpenEnv's client plays two episodes at once on a server of examples/openenv_env.py."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

from examples.openenv_env import DeepEyesClient, Said
from tests.libraries.episode import ANSWER, ZOOM, shape_of

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.executable, "-m", "uvicorn", "examples.openenv_env:app", "--host", "127.0.0.1", "--port", str(port)]
server = subprocess.Popen(command, stdout=sys.stderr)
try:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    url = f"http://127.0.0.1:{port}"
    with DeepEyesClient(base_url=url).sync() as client, DeepEyesClient(base_url=url).sync() as other:
        begun = client.reset(seed=0, index=2)
        beside = other.reset(seed=0, index=3)
        looked = client.step(Said(message=ZOOM))
        ended = client.step(Said(message=ANSWER))
        steps = [client.state().step_count, other.state().step_count]
    result = {
        "prompt": shape_of(begun.observation.messages),
        "another": beside.observation.messages != begun.observation.messages,
        "looked": shape_of(looked.observation.messages),
        "done": [looked.done, ended.done],
        "after": ended.observation.messages,
        "terms": ended.observation.terms,
        "stop_reason": ended.observation.stop_reason,
        "reward": ended.reward,
        "steps": steps,
    }
    print(json.dumps(result))
finally:
    server.terminate()
    server.wait()
