"""The file with which the sandbox's interpreter starts: lets it find this folder, and nothing else of the package."""

import json
import sys
import types

_FOLDER = "/sandbox/worker"


def boot() -> None:
    """Make the package's names known, and start the warm parent."""
    for name in ("deepeyes_env", "deepeyes_env.sandbox", "deepeyes_env.sandbox.worker"):
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = [_FOLDER] if name.endswith("worker") else []
    from deepeyes_env.sandbox.worker.warm_parent import main

    main(json.loads(sys.argv[1]))


if __name__ == "__main__":
    boot()
