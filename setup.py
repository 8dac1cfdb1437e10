"""Packaging of deepeyes_env: what the environment needs, and extras for everything else."""

import ast
import re
from pathlib import Path

from setuptools import find_packages, setup

URL = ""
"""Where the repository is; what the package says of itself elsewhere leads there. Empty while it has no address."""

ROOT = Path(__file__).parent

CORE = [
    "cloudpickle>=2",  # toolboxes on their way to other processes
    "docstring-parser>=0.16",  # tool descriptions from Google-style docstrings
    "gymnasium>=1.1",  # the interface
    "numpy>=1.26",  # pixels
    "pillow>=10.3",  # decoding, and the reference for resizing
    "pydantic>=2.7",  # tool schemas from signatures, and checked arguments
]
EXTRAS = {
    "cli": [
        "pyyaml>=6",  # --prompt-template
        "typer>=0.12",  # the `deepeyes` command
        "rich>=13",  # its tables and progress bars
    ],
    "curate": [
        "imagehash>=4.3.2",  # near-duplicate images: perceptual hashes
        "math-verify>=0.8",
        "matplotlib>=3.8",  # plots of its report
        "numpy>=2",  # bitwise_count
        "h11>=0.14",  # requests to servers without TLS
        "openai>=3",  # served models
        "pyarrow>=15",  # data in parquet files
        "pybase64>=1.4",
        "rich>=13",
        "typer>=0.12",
    ],
    "data": [
        "openpyxl>=3.1",  # VLMEvalKit's result sheets
        "pyarrow>=15",  # DeepEyes-format parquet, streamed
    ],
    "documents": ["pypdfium2>=5"],  # pages of PDF files, drawn at any scale
    "eval": [
        "isal>=1.6",  # crops recorded as PNG: 8 to 10 times Pillow's speed
        "math-verify>=0.8",  # --judge chain
        "matplotlib>=3.8",  # plots of a report
        "h11>=0.14",  # requests to servers without TLS
        "openai>=3",  # served models
        "pyarrow>=15",  # benchmarks in parquet files
        "pybase64>=1.4",
        "pyyaml>=6",  # --prompt-template
        "rich>=13",
        "typer>=0.12",
    ],
    "fast": [
        "isal>=1.6",  # PNG
        "simplejpeg>=1.7",  # JPEG by libjpeg-turbo: 1.6 to 2.6 times Pillow's speed, the same pixels
        "torch>=2.4",  # resize="fast"
    ],
    "large": [  # JPEG and PNG of more than 201 megapixels
        "openslide-bin>=4.0.1",
        "openslide-python>=1.4",  # reads their tiles
        "pyvips>=3",
        "pyvips-binary>=8.17",  # writes them, streaming
    ],
    "lora": ["peft>=0.17"],  # weights.lora_rank
    "math": ["math-verify>=0.8"],  # MathJudge
    "mcp": ["mcp>=2.3"],  # tools of MCP servers, and `deepeyes mcp`; brings jsonschema, which checks calls of them
    "openai": [
        "h11>=0.14",  # requests to servers without TLS
        "openai>=3",  # OpenAIAgent, LLMJudge: any OpenAI-compatible server
        "pybase64>=1.4",  # images in requests: 24 to 38 times the standard library's speed
    ],
    "ray": ["ray>=2.40"],  # RayVectorEnv
    "transformers": [
        "torch>=2.4",
        "transformers>=5.5",  # local models
    ],
    "sandbox": [  # with bubblewrap and libseccomp2, which are no Python packages
        "matplotlib>=3.8",  # what programs of a policy may import, here and below
        "opencv-python-headless>=4.9",
        "pyseccomp>=0.1.2",  # the filter of system calls, compiled by libseccomp
        "scipy>=1.11",
        "stack-data>=0.6",  # tracebacks with their lines, as IPython writes them
    ],
    "search": ["opencv-python-headless>=4.9"],  # FolderImageSearch: features of images
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
    "slides": [
        "openslide-bin>=4.0.1",  # its library, which many systems lack
        "openslide-python>=1.4",  # whole-slide files and tiled TIFF, read part by part
    ],
    "trl": [
        "datasets>=3",  # rows for its trainer
        "jmespath>=1",  # how it reads tool calls with transformers before 5.13
        "peft>=0.17",  # LoRA
        "pyyaml>=6",
        "rich>=13",
        "torch>=2.4",
        "transformers>=5.5",
        "trl>=1.12",  # GRPOTrainer with environment_factory
        "typer>=0.12",
    ],
    "video": ["av>=14"],  # frames of videos, by FFmpeg
    "verl": ["verl[verl-core]>=0.9.1"],  # trainers/verl: training on a cluster
    "vllm": ["vllm>=0.11"],  # VLLMAgent; brings a torch of its own
    "wandb": ["wandb>=0.17"],  # log.wandb
    "sb3": ["stable-baselines3>=2.4"],  # examples/ppo_sb3.py; its MaskablePPO needs sb3-contrib
}
APART = ("trl", "verl", "vllm", "wandb")
"""Extras that ``all`` leaves out: three want versions of their own of what others bring, and one is a service."""
EXTRAS["all"] = sorted({need for name, extra in EXTRAS.items() if name not in APART for need in extra})
EXTRAS["release"] = [
    "build>=1.2",  # wheel and sdist
    "twine>=6",  # checks that an index will take them and can show the README
]
EXTRAS["test"] = [
    *EXTRAS["all"],
    *EXTRAS["release"],
    "array-api-compat>=1.11",  # Gymnasium's NumpyToTorch
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

_LINK = re.compile(
    r"^```.*?^```|^ {4}.*?$|`[^`\n]*`"  # code stays as it is
    r"|(?P<picture>!?)\[(?P<text>[^]]*)\]\((?!\w+:|\#)(?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def long_description(readme: str, url: str, version: str) -> str:
    """Return the README for readers who have not the repository's files beside it.

    Links and pictures of the repository get the address that they have there in that version; where the repository has
    no address, links become their text, and pictures what they show.
    """

    def elsewhere(found: re.Match[str]) -> str:
        picture, text, target = found["picture"], found["text"], found["target"]
        if target is None:
            return found[0]
        if url:
            return f"{picture}[{text}]({url.rstrip('/')}/{'raw' if picture else 'blob'}/v{version}/{target})"
        return f"(Picture: {text})" if picture else text

    return _LINK.sub(elsewhere, readme)


def read_version() -> str:
    """Return the version without importing the package, whose dependencies need not be there when it is built."""
    tree = ast.parse((ROOT / "deepeyes_env" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("deepeyes_env/__init__.py has no __version__")


def find_modules() -> list[str]:
    """Return all packages.

    The folders agents/ and trainers/ stand at the top of the repository, and are packages of deepeyes_env: symbolic
    links put them there, so that Python, pytest, mypy and pyright all see them without a step of their own.
    """
    packages = find_packages(str(ROOT), include=["deepeyes_env*"])
    for folder in ("agents", "trainers"):
        if f"deepeyes_env.{folder}" not in packages:
            raise SystemExit(
                f"deepeyes_env/{folder} does not lead to ../{folder}: symbolic links are off in this checkout; "
                "`git config core.symlinks true` and `git checkout -- deepeyes_env` make them"
            )
    return packages


if __name__ == "__main__":  # a build runs this file so; tests import it
    VERSION = read_version()
    setup(
        name="deepeyes-env",
        version=VERSION,
        description="Environments in which a vision-language model learns to think with images",
        long_description=long_description((ROOT / "README.md").read_text(encoding="utf-8"), URL, VERSION),
        long_description_content_type="text/markdown",
        author="The deepeyes_env authors",
        license_expression="Apache-2.0",
        license_files=["LICENSE"],
        project_urls={"Source": URL, "Changelog": f"{URL}/blob/main/CHANGELOG.md"} if URL else {},
        keywords=[
            "vision-language models",
            "reinforcement learning",
            "thinking with images",
            "visual search",
            "tool use",
            "agents",
            "gymnasium",
            "GRPO",
        ],
        python_requires=">=3.11",
        package_dir={"": "."},
        packages=find_modules(),
        package_data={
            "deepeyes_env": ["py.typed"],
            "deepeyes_env.agents.human": ["page/*"],
            "deepeyes_env.trainers.grpo": ["presets/*"],
            "deepeyes_env.trainers.tiny": ["base/*"],
            "deepeyes_env.trainers.verl": ["presets/*"],
            "deepeyes_env.trajectories": ["viewer/*"],
        },
        install_requires=CORE,
        extras_require=EXTRAS,
        entry_points={"console_scripts": ["deepeyes=deepeyes_env.cli:main"]},
        classifiers=[
            "Development Status :: 3 - Alpha",
            "Intended Audience :: Developers",
            "Intended Audience :: Science/Research",
            "Programming Language :: Python :: 3",
            "Programming Language :: Python :: 3 :: Only",
            "Programming Language :: Python :: 3.11",
            "Programming Language :: Python :: 3.12",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
            "Topic :: Scientific/Engineering :: Image Recognition",
            "Typing :: Typed",
        ],
    )
