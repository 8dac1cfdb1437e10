"""What the code blocks of the documentation find where they are run: a reader's files, and a served model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from deepeyes_env import Sample
from deepeyes_env.agents import rollout
from deepeyes_env.data import write_parquet, write_vstar
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.export import export
from tests.docs.pages import ROOT
from tests.servers.faulty import FaultyServer

SECONDS = 120


def photo(path):
    Image.new("RGB", (640, 480), "skyblue").save(path)


def questions(path):
    image = Image.new("RGB", (640, 480), "skyblue")
    samples = [Sample(f"q{n}", "What colour is the sky?", "blue", image, ("blue", "grey")) for n in range(4)]
    write_parquet(samples, path)


def benchmark(path):
    for number, category in enumerate(("direct_attributes", "relative_position")):
        image = Image.new("RGB", (640, 480), "skyblue")
        meta = {"category": category, "target_object": ["sky"]}
        sample = Sample(f"sa_{number}", "Sky?", "blue", image, ("blue", "grey"), [(9, 9, 90, 90)], metadata=meta)
        write_vstar([sample], path)


def run_of_the_oracle(path):
    rollout("VisualToolbox-v2", "oracle", episodes=4, out=path, progress=False)


def exported(path):
    run_of_the_oracle(path.parent / "run-to-export")
    export(read_trajectories(path.parent / "run-to-export"), path, "huggingface")


FILES = {
    "street.jpg": photo,
    "train.parquet": questions,
    "vstar_bench": benchmark,
    "runs/oracle": run_of_the_oracle,
    "run.parquet": exported,
}
"""What pages take for granted, by name: files that a reader has, or that a command above the block wrote."""


@pytest.fixture(scope="session")
def file_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("file_cache")


@pytest.fixture
def reader_folder(tmp_path, file_cache):
    """Return a function that puts the files that a text names into an empty folder, and returns the folder."""

    def prepare(text):
        for name, make in FILES.items():
            if f'"{name}"' not in text:
                continue
            kept = file_cache / name
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                make(kept)
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if kept.is_dir() else shutil.copy)(kept, tmp_path / name)
        return tmp_path

    return prepare


@pytest.fixture
def served():
    """Return a function that puts a real server's address in the place of those that pages use."""
    with FaultyServer(models=("NAME",)) as server:
        yield lambda text: text.replace("http://127.0.0.1:8000/v1", server.url).replace(
            "http://127.0.0.1:8001/v1", server.url
        )


@pytest.fixture(scope="session")
def in_a_fork():
    """Return a function that runs code in a process of its own and returns its exit status."""
    command = [sys.executable, "-m", "tests.docs.fork_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:

        def run(code, name, folder):
            log = folder / "output.txt"
            job = {"code": code, "name": name, "folder": str(folder), "log": str(log), "seconds": SECONDS}
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline()), log

        yield run
        process.stdin.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return Path(folder)
