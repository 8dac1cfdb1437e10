"""One makes a value while others wait for it: what is promised when the work fails, and that nothing is made twice."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from deepeyes_env.byte_cache import ByteCache
from deepeyes_env.single_flight import SingleFlight


class Work:
    """What 8 threads ask for at once; the first to come begins only when the others have had time to ask too."""

    def __init__(self, *outcomes):
        self.outcomes, self.made, self.begun, self.gate = list(outcomes), 0, threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        self.gate.wait(10)
        self.made += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def asked_by_8(self, flight):
        """What each of the threads got, the one that did the work first."""
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(flight.once, "key", self)]
            assert self.begun.wait(10)
            asked += [pool.submit(flight.once, "key", self) for _ in range(7)]
            threading.Timer(0.1, self.gate.set).start()
            return [each.exception() or each.result() for each in asked]


@pytest.mark.parametrize("cache", [None, {}])
def test_those_who_ask_at_once_get_one_object(cache):
    work, flight = Work([7]), SingleFlight(cache)
    got = work.asked_by_8(flight)
    assert work.made == 1
    assert all(each is got[0] for each in got)
    assert flight.once("key", lambda: [8]) == ([8] if cache is None else [7])


def test_different_keys_run_in_parallel():
    flight, together = SingleFlight(), threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda key: flight.once(key, lambda: together.wait(10)), range(4))) == [0, 1, 2, 3]


def test_an_error_reaches_all_who_waited_and_is_not_kept():
    work, flight = Work(OSError("disk full")), SingleFlight({})
    got = work.asked_by_8(flight)
    assert work.made == 1
    assert all(each is got[0] for each in got)
    assert str(got[0]) == "disk full"
    assert flight.once("key", lambda: 5) == 5


def test_an_error_of_its_own_reaches_nobody_else():
    work, flight = Work(ValueError("mine"), "fine"), SingleFlight({}, own_errors=(ValueError,))
    got = work.asked_by_8(flight)
    assert isinstance(got[0], ValueError)
    assert got[1:] == ["fine"] * 7


def test_who_is_interrupted_is_relieved_by_one_of_those_who_wait():
    work, flight = Work(KeyboardInterrupt(), "fine"), SingleFlight({})
    got = work.asked_by_8(flight)
    assert isinstance(got[0], KeyboardInterrupt)
    assert got[1:] == ["fine"] * 7
    assert work.made == 2


def test_nothing_is_made_twice_while_all_that_is_kept_fits():
    made, flight = [], SingleFlight(ByteCache(1000, lambda value: 1))

    def ask(number):
        key = number * 7 % 50
        return flight.once(key, lambda: made.append(key) or str(key)) == str(key)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(2000)))
    assert sorted(made) == list(range(50))


# --- the cache ---------------------------------------------------------------------------------------------------


def test_the_least_recently_used_are_dropped_beyond_the_budget():
    cache = ByteCache(10, len)
    for key in "abc":
        cache[key] = key * 3
    assert (len(cache), cache.nbytes) == (3, 9)
    cache.get("a")
    cache["d"] = "dd"
    assert [cache.get(key) for key in "abcd"] == ["aaa", None, "ccc", "dd"]
    assert cache.nbytes == 8


def test_a_value_above_the_budget_is_not_kept_and_evicts_nothing():
    cache = ByteCache(10, len)
    cache["a"] = "aaa"
    cache["b"] = "b" * 11
    assert (cache.get("a"), cache.get("b"), cache.nbytes) == ("aaa", None, 3)


def test_bytes_are_counted_of_what_is_replaced_and_dropped_too():
    cache = ByteCache(10, len)
    cache["a"] = "aaa"
    cache["a"] = "a"
    assert cache.nbytes == 1
    cache.drop("a")
    cache.drop("a")
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="max_bytes=-1"):
        ByteCache(-1, len)
