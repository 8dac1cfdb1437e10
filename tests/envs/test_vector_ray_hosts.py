"""RayVectorEnv over hosts of their own: Ray nodes in network namespaces, one of them killed in mid-batch."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
HOSTS = 3
HEALTH = {"initial_delay_ms": 1000, "period_ms": 1000, "timeout_ms": 10000, "failure_threshold": 5}
QUICK = {f"RAY_health_check_{name}": str(value) for name, value in HEALTH.items()}


def address(host):
    return f"10.91.7.{host + 1}"


def ip(*arguments):
    """Run ``ip``; skips the test where that is refused."""
    if shutil.which("ip") is None:
        pytest.skip("no ip command: network namespaces cannot be made")
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"network namespaces are refused here: ip {' '.join(arguments)}: {ran.stderr.strip()}")


@pytest.fixture
def hosts():
    """Network namespaces with an address each, joined by a bridge that leads nowhere else."""
    names = [f"deepeyes{os.getpid()}-{i}" for i in range(HOSTS)]
    bridge = f"deb{os.getpid()}"
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        for i, name in enumerate(names):
            here, there = f"dev{os.getpid()}{i}", f"dew{os.getpid()}{i}"
            ip("netns", "add", name)
            ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            ip("link", "set", here, "master", bridge, "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", there, "up")
            ip("-n", name, "addr", "add", f"{address(i)}/24", "dev", there)
        yield names
    finally:
        for name in names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


@pytest.fixture
def in_host(hosts):
    """Return a function that runs a command on a host."""
    folder = tempfile.mkdtemp(prefix="dee")  # short: sockets are made in it
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # one cluster, one token

    def start(host, *arguments, **kwargs):
        environment = {
            **os.environ,
            **QUICK,
            **token,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": folder,
        }
        command = ["ip", "netns", "exec", hosts[host], *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=environment, **kwargs)

    def node(host, *options):
        arguments = ("start", "--block", f"--node-ip-address={address(host)}", "--object-store-memory=100000000")
        again = 'for i in 1 2 3 4 5; do "$@"; sleep 1; done'  # a node gives up after 30 s where the machine is busy
        command = ("bash", "-c", again, "node", sys.executable, "-m", "ray.scripts.scripts", *arguments, *options)
        return start(host, *command, stdout=log, stderr=log)

    with (Path(folder) / "nodes.log").open("wb") as log:
        node(0, "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}/ray")
        for host in range(1, HOSTS):
            time.sleep(5)
            node(host, f"--address={address(0)}:6379", "--num-cpus=4")
        yield start
    shutil.rmtree(folder, ignore_errors=True)


def test_a_killed_host_costs_no_rollout(hosts, in_host):
    arguments = (sys.executable, str(Path(__file__).with_name("play_hosts.py")), address(0), *hosts[1:])
    playing = in_host(0, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, errors = playing.communicate(timeout=600)
    assert playing.returncode == 0, errors.decode()[-3000:]
    result = json.loads(said.decode().strip().splitlines()[-1])
    assert set(result["before"]) == set(hosts[1:])
    assert set(result["after"]) == {hosts[2]}
    assert result["same"]
    assert result["steps"] == 8
