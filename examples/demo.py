"""The demo: an agent that zooms and one that does not, on the built-in task and on real photographs.

    python examples/demo.py [--photos FOLDER] [--episodes N] [--out FOLDER]

Any folder of photographs will do; without one, the small photographs inside scikit-image are used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from rich.console import Console

from deepeyes_env import ViewBudget
from deepeyes_env.agents import Rollout, rollout
from deepeyes_env.cli.table import summary_table
from deepeyes_env.data.photos import plant
from deepeyes_env.trajectories import write_page

PHOTO_VIEW = ViewBudget(min_pixels=224 * 224, max_pixels=448 * 448)

SAMPLES = Path("data/photos")
"""Where photographs of scikit-image stand in for a user's own."""


def sample_photos(folder: Path) -> None:
    """Put the photographs of scikit-image into a folder, unless it holds any files."""
    if folder.exists() and any(folder.iterdir()):
        return
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")


def main() -> None:
    """Play, print the table, write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=SAMPLES, help="folder of photographs")
    parser.add_argument("--episodes", type=int, default=200, help="episodes of each agent on each data set")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for runs and pages")
    args = parser.parse_args()
    console = Console()

    if args.photos == SAMPLES:
        sample_photos(args.photos)
    parquet = args.out / "photos.parquet"
    planted = plant(args.photos, parquet, view=PHOTO_VIEW)
    tasks = {"built-in task": {}, "photographs": {"dataset": str(parquet), "view": PHOTO_VIEW, "in_order": True}}
    runs: dict[str, Rollout] = {}
    for task, settings in tasks.items():
        episodes = args.episodes if task == "built-in task" else min(args.episodes, planted)
        for agent in ("oracle", "blind"):
            out = args.out / f"{task.replace(' ', '-')}-{agent}"
            runs[f"{agent}, {task}"] = rollout(
                "VisualToolbox-v2", agent, episodes=episodes, out=out, if_exists="overwrite", **settings
            )
    console.print(summary_table({name: run.summary for name, run in runs.items()}))
    for run in runs.values():
        if run.folder is not None:
            console.print(f"Look through the episodes: {write_page(run.folder)}", soft_wrap=True)


if __name__ == "__main__":
    main()
