"""PDFium in its own process: hostile pages end at the limits, and the next one is drawn; threads, forks and ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deepeyes_env.errors import ImageError
from deepeyes_env.images.sources import pdfium
from deepeyes_env.images.sources.documents import Page
from deepeyes_env.images.sources.pdfium import PDFIUM
from deepeyes_env.side_process import SideProcess
from tests.pdf_files import endless_pattern, nested_forms, pdf

BOX, SIZE = (0, 0, 1224, 1584), (306, 396)


@pytest.fixture
def limits(monkeypatch):
    """Change a limit; it holds for the process that is started next."""

    def change(**values):
        PDFIUM.close()
        for name, value in values.items():
            monkeypatch.setattr(pdfium, name, value)

    yield change
    PDFIUM.close()


def square(folder, name="good.pdf", colour=b"1 0 0"):
    (folder / name).write_bytes(pdf(colour + b" rg 100 600 50 30 re f"))
    return Page(folder / name)


@pytest.mark.integration
@pytest.mark.parametrize("hostile", [nested_forms, endless_pattern])
def test_a_page_without_end_is_given_up_and_the_next_one_drawn(tmp_path, limits, hostile):
    good = square(tmp_path).read(BOX, SIZE)
    limits(MAX_SECONDS=2.0)
    (tmp_path / "busy.pdf").write_bytes(hostile())
    for _ in range(2 if hostile is endless_pattern else 1):
        with pytest.raises(ImageError, match=r"busy\.pdf: page 1 takes more than 2 s to draw"):
            Page(tmp_path / "busy.pdf").read(BOX, SIZE)
        assert np.array_equal(square(tmp_path).read(BOX, SIZE), good)


@pytest.mark.integration
def test_a_page_that_takes_too_much_memory_ends_alone(tmp_path, limits):
    limits(MAX_MEMORY=2**26)
    good = square(tmp_path).read(BOX, SIZE)
    (tmp_path / "fat.pdf").write_bytes(nested_forms())
    said = r"fat\.pdf: page 1 ended PDFium \(SIG[A-Z]+\), which may take 64 MiB of memory"
    with pytest.raises(ImageError, match=said):
        Page(tmp_path / "fat.pdf").read(BOX, SIZE)
    assert np.array_equal(square(tmp_path).read(BOX, SIZE), good)


def test_a_process_that_is_gone_is_replaced_unnoticed(tmp_path):
    page = square(tmp_path)
    good, pid = page.read(BOX, SIZE), PDFIUM.pid
    os.kill(pid, signal.SIGKILL)
    assert np.array_equal(page.read(BOX, SIZE), good)
    assert PDFIUM.pid != pid


def test_after_an_interruption_nobody_gets_pixels_of_another_page(tmp_path, monkeypatch):
    red, blue = square(tmp_path), square(tmp_path, "blue.pdf", b"0 0 1")
    good = red.read(BOX, SIZE)

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SideProcess, "hear", interrupted)
        with pytest.raises(KeyboardInterrupt):
            PDFIUM.draw(pdfium.Stamp.of(blue.path), 1, (0, 0, *SIZE), SIZE)
    assert np.array_equal(red.read(BOX, SIZE), good)


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    assert square(tmp_path).read(BOX, SIZE)[:, :, 2].min() == 0
    assert square(tmp_path, colour=b"0 0 1    ").read(BOX, SIZE)[:, :, 2].min() == 255


def test_threads_share_the_process(tmp_path):
    pages = [square(tmp_path, f"{n}.pdf", b"%g 0 0" % (n / 8)) for n in range(8)]
    expected = [page.read(BOX, SIZE) for page in pages]
    pid = PDFIUM.pid
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda page: page.read(BOX, SIZE), pages * 10))
    assert all(map(np.array_equal, found, expected * 10))
    assert PDFIUM.pid == pid


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_page_starts_one_of_its_own(tmp_path, limits):
    page = square(tmp_path)
    good = page.read(BOX, SIZE)
    limits(MAX_SECONDS=3.0)
    (tmp_path / "busy.pdf").write_bytes(endless_pattern())
    with ThreadPoolExecutor(1) as thread:
        busy = thread.submit(Page(tmp_path / "busy.pdf").read, BOX, SIZE)
        while PDFIUM.pid is None and not busy.done():
            time.sleep(0.01)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            drawn, its = pool.apply(_drawn, (page,))
        assert np.array_equal(drawn, good)
        assert its != PDFIUM.pid
        assert isinstance(busy.exception(), ImageError)
    assert np.array_equal(page.read(BOX, SIZE), good)


def _drawn(page):
    return page.read(BOX, SIZE), PDFIUM.pid


PARENT = """
import os, signal, sys, time
from pathlib import Path
from deepeyes_env.images.sources.documents import Page
from deepeyes_env.images.sources.pdfium import PDFIUM
Page(Path(sys.argv[1])).read((0, 0, 100, 100), (50, 50))
assert "pypdfium2" not in sys.modules
forked = os.fork() if sys.argv[2] == "killed" else -1
if not forked:
    time.sleep(60)
    os._exit(0)
print(PDFIUM.pid, forked, flush=True)
if forked > 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.integration
@pytest.mark.parametrize("how", ["ended", "killed"])
def test_it_ends_with_the_process_that_it_draws_for(tmp_path, how):
    """Even where a fork of that one, which has its pipes, lives on."""
    command = [sys.executable, "-c", PARENT, str(square(tmp_path).path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid, forked = map(int, parent.stdout.readline().split())
        try:
            assert parent.wait() == (0 if how == "ended" else -signal.SIGKILL)
            while is_alive(pid):
                time.sleep(0.05)
        finally:
            if forked > 0:
                os.kill(forked, signal.SIGKILL)


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
