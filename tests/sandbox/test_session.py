"""A session: its state, its images, its output, its limits, and what happens when it ends."""

import os
import signal

import numpy as np
import pytest

from deepeyes_env.errors import UnknownNameError, UsageError, UsageTypeError
from deepeyes_env.sandbox import SANDBOXES, Limits, Session, get_sandbox
from deepeyes_env.sandbox.observation import code_observation, error_in
from tests.conftest import pattern
from tests.sandbox.conftest import frozen


def test_images_have_names_and_come_back_as_they_are(session):
    other = frozen(pattern(30, 20))
    assert session.show(other) == ("image_2",)
    got = session.run(
        "from IPython.display import display\nimage_2.show()\ndisplay(image_1)\nimage_1.crop((5, 6, 25, 36))"
    )
    shown = [other, pattern(64, 48), pattern(64, 48)[6:36, 5:25]]
    assert [image.tobytes() for image in got.images] == [image.tobytes() for image in shown]
    assert session.images == 5
    assert (
        session.run("print(image_5.size, image_5.getpixel((0, 0)))").stdout
        == f"(20, 30) {tuple(shown[2][0, 0].tolist())}\n"
    )


def test_an_image_is_shared_until_it_is_changed(make_session):
    image = frozen(pattern(64, 48))
    one, other = make_session(image), make_session(image)
    assert one.run("image_1.putpixel((0, 0), (1, 2, 3))\nprint(image_1.getpixel((0, 0)))").stdout == "(1, 2, 3)\n"
    assert other.run("print(image_1.getpixel((0, 0)))").stdout == f"{tuple(pattern(64, 48)[0, 0].tolist())}\n"
    assert one.run("import numpy as np\nnp.asarray(image_1).shape").result == "(48, 64, 3)"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "F"])
def test_images_of_every_mode_can_be_shown(session, mode):
    (image,) = session.run(f"from PIL import Image\nImage.new({mode!r}, (7, 5)).show()").images
    assert image.shape == (5, 7, 3)


def test_a_figure_as_last_expression(session):
    got = session.run(
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\nplt.show()\naxes.plot([1, 2])\nfigure"
    )
    assert [image.shape for image in got.images] == [(470, 630, 3)] * 2


def test_a_figure_has_the_pixels_of_its_png(session):
    got = session.run(
        "import io\nimport matplotlib.pyplot as plt\nfrom PIL import Image\n"
        "def draw():\n    figure, axes = plt.subplots(figsize=(3, 5))\n"
        "    axes.imshow([[1, 2], [3, 4]], alpha=0.3)\n    figure.patch.set_alpha(0.5)\n    return figure\n"
        "figure, file = draw(), io.BytesIO()\nfigure.tight_layout()\nfigure.savefig(file, bbox_inches='tight')\n"
        "plt.close(figure)\nImage.open(file).convert('RGB').show()\ndraw()\nplt.show()"
    )
    png, shown = got.images
    assert len(np.unique(png)) > 5
    assert np.array_equal(png, shown)


def test_values_of_several_lines_begin_on_a_line_of_their_own(session):
    assert session.run("import numpy as np\nnp.eye(2)").stdout == "Out[0]: \narray([[1., 0.],\n       [0., 1.]])\n"
    assert session.run("1;").stdout == ""
    assert session.run("None").stdout == ""


def test_output_is_cut_and_says_so(session):
    got = session.run("import sys\nprint('x' * 9_000)\nprint('y' * 5_000 + 'end', file=sys.stderr)")
    assert got.truncated
    assert got.stdout == "x" * 8_000 + "\n[1,001 more characters were left out]"
    assert got.stderr.startswith("[1,004 more characters were left out]\nyyy")
    assert got.stderr.endswith("yend\n")


def test_what_other_processes_write_comes_too_and_in_order(session):
    got = session.run("import os\nprint('a')\nos.system('echo b; echo c >&2')\nprint('d', end='')")
    assert (got.stdout, got.stderr) == ("a\nb\nd", "c\n")


def test_indentation_is_mended_and_told(session):
    got = session.run("  x = 1\n  print(x)")
    assert (got.stdout, got.notes) == (
        "1\n",
        ("the indentation was mended: what all lines are indented by was removed",),
    )


def test_an_episode_has_so_many_seconds(make_session):
    session = make_session(cell_seconds=5, episode_seconds=0.5)
    assert session.run("import time\ntime.sleep(1)").error == "TimeoutException"
    got = session.run("1")
    assert (got.error, got.stderr) == (
        "timeout",
        "TimeOutError: the 0.5 s that all cells of an episode may take are used up",
    )


def test_a_program_that_ends_its_process_loses_its_cell_only(session):
    session.run("x = 41")
    got = session.run("import os\nx = 0\nos._exit(3)")
    assert (got.error, got.ended) == ("exited", True)
    again = session.run("print(x)")
    assert (again.stdout, again.notes) == ("41\n", ("a new kernel; cells run again: 1",))
    assert session.lost == 1


def test_cells_that_come_to_something_else_are_told(session):
    session.run("import time\nprint(time.time_ns())")
    session.run("import random\nprint(random.random())")
    session.run("import os\nos._exit(0)")
    assert session.run("1").notes == ("a new kernel; cells run again: 2", "cells that came to something else: 1")


def test_a_cell_that_timed_out_takes_no_longer_when_it_is_run_again(session):
    assert session.run("while True:\n    pass", seconds=0.3).error == "TimeoutException"
    session.run("import os\nos._exit(0)")
    assert session.run("1").notes == ("a new kernel; cells run again: 1",)
    assert session.seconds < 30  # and not once more the thirty seconds that any cell has


def test_a_branch_has_the_state_and_goes_its_own_way(session):
    session.run("x = [1]\nimage_1.crop((0, 0, 9, 9))")
    with session.branch() as other:
        assert other.run("x.append(2)\nprint(x, image_2.size)").stdout == "[1, 2] (9, 9)\n"
        assert session.run("print(x)").stdout == "[1]\n"


def test_sessions_are_killed_from_outside_and_go_on(sandbox, make_session):
    session, neighbour = make_session(), make_session()
    neighbour.run("y = 2")
    before = sandbox.pids()
    session.run("x = 1")
    (pid,) = sandbox.pids() - before
    os.kill(pid, signal.SIGKILL)
    got = session.run("print(x)")
    assert got.stdout == "1\n"
    assert "run again" in got.notes[0]
    assert neighbour.run("print(y)").notes == ()


def test_nothing_opens_before_the_first_cell():
    class Never(type(get_sandbox("local"))):
        def open(self, limits):
            raise AssertionError

    Session([np.zeros((4, 4, 3), np.uint8)], sandbox=Never()).close()


def test_sandboxes_are_registered_by_name():
    with SANDBOXES.restored():
        SANDBOXES.register("mine", lambda: get_sandbox("local"))
        assert get_sandbox("mine") is get_sandbox("local")
    with pytest.raises(UnknownNameError, match="local"):
        get_sandbox("locla")
    with pytest.raises(UsageTypeError, match="sandbox is 3"):
        get_sandbox(3)
    with pytest.raises(UsageError, match="memory is 0"):
        Limits(memory=0)


def test_what_a_policy_reads_names_the_error(session):
    programs = {"1 / 0": "ZeroDivisionError", "print(1": "SyntaxError", "1": "", "raise KeyError('a\\nb')": "KeyError"}
    programs |= {"import sys\nprint('ValueError: no', file=sys.stdout)": "", "import warnings\nwarnings.warn('x')": ""}
    assert {code: error_in(code_observation(session.run(code))) for code in programs} == programs
    assert error_in("no cell at all") == ""
