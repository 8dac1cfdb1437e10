import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data

from deepeyes_env.errors import ImageError
from deepeyes_env.images import ImageRef, ImageStore, ViewBudget, codec, ops, shared_store

PHOTO = skimage.data.chelsea()  # 300 x 451
PNG = codec.encode(PHOTO)
NBYTES = PHOTO.nbytes
BUDGET = ViewBudget(max_pixels=40_000)


def refs(count):
    """Different small images of 30,000 bytes each."""
    return [ImageRef(codec.encode(np.full((100, 100, 3), value, np.uint8)), name=f"{value}") for value in range(count)]


class Recipe:
    """An image drawn on demand, which counts how often."""

    size = (40, 30)

    def __init__(self, key="recipe"):
        self.key = key
        self.drawn = 0
        self.gate = threading.Event()
        self.gate.set()

    def render(self):
        self.drawn += 1
        assert self.gate.wait(10)
        return np.full((30, 40, 3), 7, np.uint8)


def ask_from_16_threads(ask, gate):
    """Sixteen threads ask; the work they wait for may finish only after all of them have been let in."""
    barrier = threading.Barrier(17)

    def worker(index):
        barrier.wait()
        try:
            return ask(index)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(worker, index) for index in range(16)]
        barrier.wait()
        gate.set()
        return [future.result(timeout=20) for future in futures]


def test_pixels_are_decoded_once_and_shared_read_only():
    store = ImageStore()
    first = store.pixels(ImageRef(PNG))
    assert np.array_equal(first, PHOTO)
    assert store.pixels(ImageRef(PNG)) is first  # another ref, the same content
    assert (store.decodes, len(store), store.nbytes) == (1, 1, NBYTES)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 0


def test_16_threads_cause_one_decode():
    store = ImageStore()
    results = ask_from_16_threads(lambda _: store.pixels(ImageRef(PNG)), threading.Event())
    assert store.decodes == 1
    assert all(result is results[0] for result in results)


def test_16_threads_wait_for_the_one_that_is_drawing():
    store, recipe = ImageStore(), Recipe()
    recipe.gate.clear()
    results = ask_from_16_threads(lambda _: store.pixels(ImageRef(recipe)), recipe.gate)
    assert recipe.drawn == store.decodes == 1
    assert all(result is results[0] for result in results)


def test_different_images_are_decoded_at_the_same_time():
    """Neither recipe is done before both have begun."""
    both = threading.Barrier(2)

    class Meeting(Recipe):
        def render(self):
            both.wait(timeout=10)
            return super().render()

    store = ImageStore()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(store.pixels, [ImageRef(Meeting("first")), ImageRef(Meeting("second"))]))
    assert store.decodes == 2


def test_a_file_is_read_once_for_digest_size_and_pixels(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    reads = []
    encoded = ImageRef.encoded
    monkeypatch.setattr(ImageRef, "encoded", lambda ref: (reads.append(ref.source), encoded(ref))[1])
    store, ref = ImageStore(), ImageRef(path)
    view = store.view(ref, BUDGET)
    pixels = store.pixels(ref)
    assert store.view(ref, BUDGET) is view
    assert store.size(ref) == (451, 300)
    assert reads.count(path) == 1
    path.unlink()
    assert store.pixels(ref) is pixels
    assert store.pixels(ImageRef(PNG)) is pixels
    assert store.decodes == 1


def test_arrays_are_passed_through_at_no_cost():
    store, ref = ImageStore(), ImageRef.of(PHOTO)
    assert store.pixels(ref) is ref.source
    assert (store.decodes, len(store), store.nbytes) == (0, 0, 0)


def test_the_least_recently_used_image_goes_first():
    a, b, c = refs(3)
    store = ImageStore(max_bytes=2 * 30_000)
    held = store.pixels(a)
    store.pixels(b)
    assert store.pixels(a) is held  # now b is the oldest
    store.pixels(c)
    assert (store.decodes, len(store), store.nbytes) == (3, 2, 60_000)
    assert store.pixels(a) is held
    assert store.decodes == 3
    store.pixels(b)
    assert store.decodes == 4
    assert store.nbytes == 60_000


def test_evicted_arrays_stay_valid_and_come_back_from_their_source():
    a, b = refs(2)
    store = ImageStore(max_bytes=30_000)
    held = store.pixels(a)
    store.pixels(b)
    assert (held == 0).all()
    again = store.pixels(a)
    assert again is not held
    assert np.array_equal(again, held)


def test_an_image_above_the_budget_is_handed_out_and_evicts_nothing():
    small = refs(1)[0]
    store = ImageStore(max_bytes=30_000)
    kept = store.pixels(small)
    assert store.pixels(ImageRef(PNG)).shape == (300, 451, 3)
    assert store.nbytes == 30_000
    assert store.pixels(small) is kept


def test_a_failed_decode_reaches_every_waiter_and_is_not_kept():
    class Failing(Recipe):
        def render(self):
            super().render()
            raise ImageError("image seven: cannot be drawn")

    store, recipe = ImageStore(), Failing()
    recipe.gate.clear()
    results = ask_from_16_threads(lambda _: store.pixels(ImageRef(recipe)), recipe.gate)
    assert all(isinstance(result, ImageError) and "seven" in str(result) for result in results)
    assert (len(store), store.nbytes) == (0, 0)
    assert (store.pixels(ImageRef(Recipe())) == 7).all()  # the same key


def test_equal_images_that_fail_together_name_themselves():
    class Failing(Recipe):
        def __init__(self, name, gate):
            super().__init__()
            self.name, self.gate = name, gate

        def render(self):
            super().render()
            raise ImageError(f"image {self.name}: cannot be drawn")

    store, gate = ImageStore(), threading.Event()
    results = ask_from_16_threads(lambda number: store.pixels(ImageRef(Failing(number, gate))), gate)
    assert [str(result) for result in results] == [f"image {number}: cannot be drawn" for number in range(16)]


def test_a_broken_file_names_itself(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(PNG[:-2000])
    store = ImageStore()
    for read in (store.pixels, lambda ref: store.view(ref, BUDGET)):
        with pytest.raises(ImageError, match=r"broken\.png: cannot be decoded"):
            read(ImageRef(path))
    path.write_bytes(PNG)
    assert np.array_equal(store.pixels(ImageRef(path)), PHOTO)


def test_views_are_fitted_once_and_shared():
    store = ImageStore()
    view = store.view(ImageRef(PNG), BUDGET)
    size = BUDGET.fit((451, 300))
    assert view.shape == (size[1], size[0], 3)
    assert np.array_equal(view, ops.fit(PHOTO, size))
    assert store.view(ImageRef(PNG), BUDGET) is view
    assert store.view(ImageRef(PNG), ViewBudget(max_pixels=40_100)) is view  # another budget, the same size
    assert (store.decodes, len(store)) == (1, 2)
    assert store.nbytes == NBYTES + view.nbytes
    smaller = store.view(ImageRef(PNG), ViewBudget(max_pixels=10_000))
    assert smaller.nbytes < view.nbytes
    assert store.decodes == 1


def test_16_threads_share_one_view():
    store, recipe = ImageStore(), Recipe()
    recipe.gate.clear()
    views = ask_from_16_threads(lambda _: store.view(ImageRef(recipe), BUDGET), recipe.gate)
    assert all(view is views[0] for view in views)
    assert store.decodes == 1


def test_view_modes_are_kept_apart():
    pytest.importorskip("torch")
    store = ImageStore()
    exact, fast = store.view(ImageRef(PNG), BUDGET), store.view(ImageRef(PNG), BUDGET, "fast")
    assert fast is not exact
    assert store.view(ImageRef(PNG), BUDGET, "fast") is fast
    assert np.abs(exact.astype(int) - fast).max() <= 2


def test_a_view_that_needs_no_scaling_is_the_image_itself():
    store, ref = ImageStore(), ImageRef(PNG)
    assert store.view(ref, None) is store.pixels(ref)
    assert len(store) == 1
    fits = ImageRef(codec.encode(PHOTO[:280, :448]))
    assert store.view(fits, ViewBudget()) is store.pixels(fits)


def test_a_view_without_a_budget_scales_tiny_images_up():
    store, ref = ImageStore(), ImageRef.of(PHOTO[:7, :20])
    assert store.view(ref, None).shape == (28, 80, 3)
    assert store.view(ref, None) is store.view(ref, None)


def test_size_does_not_decode():
    store = ImageStore()
    assert store.size(ImageRef(PNG)) == (451, 300)
    assert store.size(ImageRef(Recipe())) == (40, 30)
    assert store.decodes == 0


@pytest.mark.parametrize("duplicate", [lambda store: pickle.loads(pickle.dumps(store)), copy.deepcopy, copy.copy])
def test_a_copy_is_empty_with_the_same_budget(duplicate):
    store = ImageStore(max_bytes=123_456_789)
    store.pixels(ImageRef(PNG))
    other = duplicate(store)
    assert (other.max_bytes, len(other), other.nbytes, other.decodes) == (123_456_789, 0, 0, 0)
    assert np.array_equal(other.pixels(ImageRef(PNG)), PHOTO)


def test_the_shared_store_is_one_per_process_and_pickles_as_itself():
    assert shared_store() is shared_store()
    assert pickle.loads(pickle.dumps(shared_store())) is shared_store()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_in_mid_decode_leaves_the_child_able_to_work():
    """The child inherits a store that one thread is looking into, and in which another one decodes, both for ever."""
    looking, go_on = threading.Event(), threading.Event()

    class Digest(str):
        """One whose hash, which is asked for inside of the store, takes as long as the test wants."""

        def __hash__(self):
            looking.set()
            assert go_on.wait(10)
            return super().__hash__()

    store, recipe = ImageStore(), Recipe()
    recipe.gate.clear()
    store.pixels(ImageRef(PNG))
    refs = [ImageRef(recipe), ImageRef(PNG, digest=Digest(ImageRef(PNG).digest))]
    threads = [threading.Thread(target=store.pixels, args=[ref]) for ref in refs]
    threads[0].start()
    while not recipe.drawn:
        pass
    threads[1].start()
    assert looking.wait(10)
    child = os.fork()
    if child == 0:
        recipe.gate.set()
        fine = len(store) == 0 and store.pixels(ImageRef(recipe)).max() == 7
        os._exit(0 if fine else 1)
    go_on.set()
    recipe.gate.set()
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(store) == 2


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="max_bytes=-1"):
        ImageStore(max_bytes=-1)


def test_a_store_may_keep_less_for_a_while():
    store = ImageStore(max_bytes=90_000)
    with store.limited(30_000):
        for ref in refs(3):
            store.pixels(ref)
        assert (store.max_bytes, store.nbytes) == (30_000, 30_000)
    assert (store.max_bytes, store.nbytes) == (90_000, 0)
    for ref in refs(3):
        store.pixels(ref)
    assert store.nbytes == 90_000
