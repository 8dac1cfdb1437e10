"""Packaging of deepeyes_env: what the environment needs, and extras for everything else."""

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "cli": [
        "typer>=0.12",  # the `deepeyes` command
        "rich>=13",  # its tables and progress bars
    ],
    "data": [
        "openpyxl>=3.1",  # VLMEvalKit's result sheets
        "pyarrow>=15",  # DeepEyes-format parquet, streamed
    ],
    "eval": [
        "isal>=1.6",  # crops recorded as PNG: 8 to 10 times Pillow's speed
        "math-verify>=0.8",  # --judge chain
        "matplotlib>=3.8",  # plots of a report
        "openai>=3",  # served models
        "pyarrow>=15",  # benchmarks in parquet files
        "pybase64>=1.4",
        "rich>=13",
        "typer>=0.12",
    ],
    "fast": [
        "isal>=1.6",  # PNG
        "simplejpeg>=1.7",  # JPEG by libjpeg-turbo: 1.6 to 2.6 times Pillow's speed, the same pixels
        "torch>=2.4",  # resize="fast"
    ],
    "math": ["math-verify>=0.8"],  # MathJudge
    "openai": [
        "openai>=3",  # OpenAIAgent, LLMJudge: any OpenAI-compatible server
        "pybase64>=1.4",  # images in requests: 24 to 38 times the standard library's speed
    ],
    "ray": ["ray>=2.40"],  # RayVectorEnv
    "transformers": [
        "torch>=2.4",
        "transformers>=5.5",  # local Qwen2.5-VL models
    ],
    "train": [
        "matplotlib>=3.8",  # curves.png
        "pyyaml>=6",  # configurations
        "ray>=2.40",
        "rich>=13",
        "tensorboard>=2.15",  # event files
        "torch>=2.4",  # the learner
        "transformers>=5.5",
        "typer>=0.12",
    ],
    "vllm": ["vllm>=0.11"],  # VLLMAgent; brings a torch of its own
    "wandb": ["wandb>=0.17"],  # log.wandb
    "sb3": ["stable-baselines3>=2.4"],  # examples/ppo_sb3.py
}
EXTRAS["all"] = sorted({need for name, extra in EXTRAS.items() if name not in ("vllm", "wandb") for need in extra})
EXTRAS["test"] = [
    *EXTRAS["all"],
    "hypothesis>=6.100",  # property tests
    "mypy>=1.10",  # type checker
    "playwright>=1.45",  # drives the installed Chromium in page tests
    "pytest>=8",
    "pytest-timeout>=2.3",  # a hanging test ends with a traceback
    "pytest-xdist>=3.5",  # both cores
    "ruff>=0.6",  # linter and formatter
    "scikit-image>=0.22",  # small real photographs
    "scipy>=1.11",  # intervals and tests to compare ours with
]
EXTRAS["docs"] = [
    "datasets>=3",  # a code block of docs/exports.md reads an export with it
    "mkdocs>=1.6,<2",  # the site
    "mkdocs-material>=9.5",  # its theme
    "mkdocstrings[python]>=1",  # the reference, from docstrings
    "ruff>=0.6",  # sets signatures in the reference
]
EXTRAS["bench"] = [
    *EXTRAS["all"],
    "psutil>=5.9",  # resident memory
    "scikit-image>=0.22",  # a real photograph
]

# The folders agents/ and trainers/ stand at the top of the repository, and are packages of deepeyes_env: symbolic
# links put them there, so that Python, pytest, mypy and pyright all see them without a step of their own.
PACKAGES = find_packages(include=["deepeyes_env*"])
if "deepeyes_env.agents" not in PACKAGES:
    raise SystemExit("deepeyes_env/agents is no link to ../agents: check out with `git config core.symlinks true`")

setup(
    name="deepeyes-env",
    version="0.1.0",
    description="Environments in which a vision-language model learns to think with images",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "."},
    packages=PACKAGES,
    package_data={
        "deepeyes_env.agents.human": ["page/*"],
        "deepeyes_env": ["py.typed"],
        "deepeyes_env.trajectories": ["viewer/*"],
        "deepeyes_env.trainers.grpo": ["presets/*"],
        "deepeyes_env.trainers.tiny": ["base/*"],
    },
    install_requires=[
        "docstring-parser>=0.16",  # tool descriptions from Google-style docstrings
        "gymnasium>=1.1",  # the interface
        "numpy>=1.26",  # pixels
        "pillow>=10.3",  # decoding, and the reference for resizing
        "pydantic>=2.7",  # tool schemas from signatures, and checked arguments
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["deepeyes=deepeyes_env.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
