"""Run by ``test_beside_vlmevalkit.py`` in a process of its own: VLMEvalKit's ``evaluate`` on our result sheets.

    python vlmevalkit_evaluators.py CHECKOUT FOLDER

``FOLDER`` holds for each data set ``NAME.tsv`` and ``m_NAME.xlsx``; the scores are written to ``scores.json`` in it.

Stand-ins, because their packages are not needed to score a sheet: ``vlmeval`` and ``vlmeval.dataset`` without what
their ``__init__`` imports (all other data sets and their packages), and ``vlmeval.api``, the clients of judging models,
which ``exact_matching`` never asks. The checksums of the published files are cleared: ours are small ones of that form.
"""

import json
import os
import sys
import types
from pathlib import Path


def stand_in(name, path=None, **contents):
    module = types.ModuleType(name)
    module.__dict__.update(contents, **({"__path__": [str(path)]} if path else {}))
    sys.modules[name] = module


def scores(checkout, folder):
    os.environ |= {"LMUData": str(folder)}
    sys.path.insert(0, str(checkout))
    stand_in("vlmeval", checkout / "vlmeval")
    stand_in("vlmeval.dataset", checkout / "vlmeval" / "dataset")
    stand_in("vlmeval.api", OpenAIWrapper=None)
    from vlmeval.dataset.image_mcq import ImageMCQDataset, MMERealWorld
    from vlmeval.dataset.image_yorn import ImageYORNDataset
    from vlmeval.dataset.refcoco import RefCOCODataset

    evaluators = {
        "Choices": ImageMCQDataset,
        "MME-RealWorld-Lite": MMERealWorld,
        "POPE": ImageYORNDataset,
        "MME": ImageYORNDataset,
        "RefCOCO": RefCOCODataset,
    }
    found = {}
    for name, evaluator in evaluators.items():
        evaluator.DATASET_MD5 = {}
        result = evaluator(name).evaluate(str(folder / f"m_{name}.xlsx"), model="exact_matching", nproc=1)
        found[name] = result if isinstance(result, dict) else json.loads(result.to_json(orient="records"))
    return found


if __name__ == "__main__":
    found = scores(Path(sys.argv[1]), Path(sys.argv[2]))
    Path(sys.argv[2], "scores.json").write_text(json.dumps(found, default=float))
