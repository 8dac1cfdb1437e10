"""What the sandbox is compared with; runs in an environment with ipykernel and speaks lines of JSON.

Orders: ``kernel`` starts a kernel, imports the libraries and runs a cell; ``cell`` runs one in the last kernel;
``original`` runs one as DeepEyesV2's server does: a fork, a new IPython shell, the state unpickled and pickled again.
"""

import json
import os
import sys
import time

IMPORTS = "import numpy, PIL.Image, matplotlib.pyplot, scipy.ndimage, cv2"


class Kernels:
    def __init__(self):
        self.manager = self.client = None

    def start(self):
        from jupyter_client.manager import start_new_kernel

        self.stop()
        self.manager, self.client = start_new_kernel()
        self.run(IMPORTS)
        self.run("1 + 1")

    def run(self, code):
        reply = self.client.execute_interactive(code, output_hook=lambda message: None, timeout=120)
        assert reply["content"]["status"] == "ok", reply

    def stop(self):
        if self.client is not None:
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=True)


def original(state, code):
    """One cell; the state comes back pickled."""
    import cloudpickle

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        from IPython.core.interactiveshell import InteractiveShell

        os.close(reading)
        shell = InteractiveShell()
        shell.user_ns.update(cloudpickle.loads(state))
        shell.run_cell(code)
        hidden = shell.user_ns_hidden
        names = {k: v for k, v in shell.user_ns.items() if not k.startswith("_") and k not in hidden}
        with os.fdopen(writing, "wb") as file:
            file.write(cloudpickle.dumps(names))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        state = file.read()
    os.waitpid(pid, 0)
    return state


def main():
    import cloudpickle
    import numpy as np
    from IPython.core.interactiveshell import InteractiveShell  # noqa: F401 - warm, as the server's process is
    from PIL import Image

    exec(IMPORTS)
    rng = np.random.default_rng(0)
    state = cloudpickle.dumps({"image_1": Image.fromarray(rng.integers(0, 255, (2160, 3840, 3), np.uint8))})
    kernels = Kernels()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        started = time.perf_counter()
        if order == "kernel":
            kernels.start()
        elif order == "cell":
            kernels.run("1 + 1")
        else:
            state = original(state, "x = 1 + 1")
        out.write(json.dumps(time.perf_counter() - started) + "\n")
    kernels.stop()


if __name__ == "__main__":
    main()
