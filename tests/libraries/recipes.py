"""Environments of other libraries, each with this package's own dependencies beside it."""

from tests.environments import Recipe

TORCH = ("torch==2.13.0",)
OURS = ("gymnasium==1.4.0", "cloudpickle==3.1.2", "docstring-parser==0.18.0", "pillow==13.0.0", "pydantic==2.14.3")

SB3 = Recipe("sb3", (TORCH, (*TORCH, *OURS, "stable-baselines3==2.9.2", "sb3-contrib==2.9.2")))
MINARI = Recipe("minari", ((*OURS, "minari[hdf5,create]==0.5.4"),))
TIANSHOU = Recipe("tianshou", (TORCH, (*TORCH, *OURS[1:], "tianshou==2.0.1")))
TORCHRL = Recipe("torchrl", (TORCH, (*TORCH, *OURS, "torchrl==0.14.1")))
RLLIB = Recipe("rllib", (TORCH, (*TORCH, *OURS[1:], "ray[rllib]==2.60.0")))  # Gymnasium 1.2.2
OCR = Recipe("ocr", ((*OURS, "rapidocr==3.10.0", "onnxruntime==1.32.0", "scikit-image==0.26.0"),))
BOARD = Recipe("board", (("streamlit==1.40.0", "ujson==5.10.0", "plotly==5.18.0", "matplotlib", "scipy"),))
SKYRL = Recipe("skyrl", ((*OURS, "skyrl-gym==0.4.0"),))
OPENENV = Recipe(
    "openenv", (("gymnasium==1.4.0", "cloudpickle", "docstring-parser", "openenv==0.10.0"),)
)  # Pillow < 13
VERIFIERS = Recipe("verifiers", (("verifiers==0.4.0", "uv", *OURS[:-1]),))  # uv: its harness is a script of uv's
