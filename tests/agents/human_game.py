"""A game of ``deepeyes play`` in a thread of the test, and requests to it as a browser or an attacker would send."""

import functools
import http.client
import json
import queue
import threading
import time
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from deepeyes_env import Sample, ViewBudget
from deepeyes_env.agents.human import play_by_hand
from deepeyes_env.images.codec import encode
from deepeyes_env.trajectories import read_trajectories
from tests.conftest import pattern

ENV = "VisualToolbox-v2"
SIZE = (1600, 1000)
VIEW = ViewBudget(max_pixels=400 * 28 * 28)
TRUTH = (404.0, 203.0, 551.0, 322.0)


@functools.cache
def picture():
    """An image of which no part can be taken for another."""
    return encode(pattern(*SIZE), format="jpeg", quality=60)


def question(number=0, **kwargs):
    """A sample with an image of 1600 x 1000 pixels."""
    given = {"answer": "red", "options": ("red", "green", "blue", "white"), "boxes": (TRUTH,), **kwargs}
    return Sample(f"sample-{number}", f"What colour is flag {number}?", images=picture(), **given)


class Game:
    """A running game; ``ended`` holds what ``play_by_hand`` returned or raised."""

    def __init__(self, out, env=ENV, **kwargs):
        self.out = out
        self.ended = queue.Queue()
        self._url = queue.Queue()
        settings = {"episodes": 2, "in_order": True, "dataset": [question(0), question(1)], "view": VIEW, **kwargs}
        self.thread = threading.Thread(target=self._play, args=(env, settings), daemon=True)
        self.thread.start()
        self.url = self._url.get(timeout=30)
        if isinstance(self.url, Exception):
            raise self.url
        self.host = urlsplit(self.url).netloc
        self.token = urlsplit(self.url).path
        while self.state()["phase"] == "working":
            time.sleep(0.01)

    def _play(self, env, settings):
        try:
            self.ended.put(play_by_hand(env, out=self.out, announce=self._url.put, **settings))
        except Exception as error:
            self._url.put(error)
            self.ended.put(error)

    def ask(self, method, path, body=None, **headers):
        """Send a request; returns the status and the JSON, or the bytes, of the answer."""
        if isinstance(body, dict):
            body = json.dumps(body)
        headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection = http.client.HTTPConnection(self.host, timeout=30)
        connection.request(method, path if path.startswith("/") else self.token + path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(found) if is_json else found

    def state(self):
        return self.ask("GET", "state")[1]

    def post(self, path, **body):
        body.setdefault("version", self.state()["version"])
        return self.ask("POST", path, body)

    def zoom(self, box, thought="", **more):
        return self.post(
            "say", thought=thought, call={"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box}}, **more
        )

    def answer(self, answer, thought=""):
        return self.post("say", thought=thought, answer=answer)

    def letter(self, text="red"):
        return next(key for key, option in self.state()["episode"]["options"] if option == text)

    def stop(self):
        with suppress(OSError):  # it may be over, or ending just now
            self.ask("POST", "stop", {})
        self.thread.join(20)
        assert not self.thread.is_alive()

    def recorded(self):
        return list(read_trajectories(self.out))


@contextmanager
def playing(out, env=ENV, **kwargs):
    game = Game(out, env, **kwargs)
    try:
        yield game
    finally:
        game.stop()
