"""QuestionNumbers: the question as numbers beside the image, for policies that see and read a little."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.option_letters import letter_options

PADDING = 0

_WORD = re.compile(r"\w+")


class QuestionNumbers(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe ``{"image": ..., "question": ...}``: what the environment shows, and the question with its options.

    The question is a row of numbers, one a word, in the form ``MultiDiscrete([vocabulary] * length)``: a policy turns
    them into embeddings or, as stable-baselines3's ``MultiInputPolicy`` does, into one-hot vectors. It stays the same
    through an episode; the letter of each option comes before its words, in the order shown. By default a word's number
    is a hash of it, equal in every process; one pair of words in ``vocabulary`` shares a number.

    Args:
        env: An environment in ``FixedSizeObservation``, or in another wrapper that shows one array.
        length: How many numbers a question has: shorter ones end in ``PADDING``, longer ones are cut.
        vocabulary: Numbers go from 0 to one less than this; 0 is padding.
        encode: Turns the text into numbers from 1 to ``vocabulary - 1``, as tokenizers do; by default ``hash_words``.

    Raises:
        UsageTypeError: The environment inside is no ``VisualToolboxEnv``, or its observation is no array.
        UsageError: ``length`` is less than 1, or ``vocabulary`` less than 2.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        length: int = 32,
        vocabulary: int = 512,
        encode: Callable[[str], Sequence[int]] | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, length=length, vocabulary=vocabulary, encode=encode)
        gym.Wrapper.__init__(self, env)
        inner = env.unwrapped
        if not isinstance(inner, VisualToolboxEnv):
            raise UsageTypeError(f"QuestionNumbers wraps a VisualToolboxEnv, not {type(inner).__name__}")
        if not isinstance(env.observation_space, gym.spaces.Box):
            raise UsageTypeError("QuestionNumbers needs an observation that is one array: wrap FixedSizeObservation")
        if length < 1 or vocabulary < 2:
            raise UsageError(
                f"QuestionNumbers(length={length}, vocabulary={vocabulary}): must be at least 1 number of at least 2"
            )
        self._env, self._length, self._vocabulary, self._encode = inner, length, vocabulary, encode
        self._numbers = np.zeros(length, np.int64)
        self.observation_space = gym.spaces.Dict(
            image=env.observation_space, question=gym.spaces.MultiDiscrete([vocabulary] * length)
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and read its question.

        Raises:
            UsageError: A number of ``encode`` is outside the vocabulary.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._numbers = self._read()
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action; the question is the same."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(observation), reward, terminated, truncated, info

    def _observe(self, image: Any) -> dict[str, Any]:
        return {"image": image, "question": self._numbers.copy()}

    def _read(self) -> NDArray[np.int64]:
        sample = self._env.trajectory.sample
        question = sample.question.replace(IMAGE_PLACEHOLDER, " ")
        text = " ".join([question, *(f"{letter} {option}" for letter, option in letter_options(sample.options))])
        written = self._encode(text) if self._encode else hash_words(text, self._vocabulary)
        numbers = np.full(self._length, PADDING, np.int64)
        numbers[: len(written)] = written[: self._length]
        if numbers.min() < 0 or numbers.max() >= self._vocabulary:
            raise UsageError(f"encode gave {list(written)!r}: must be numbers from 1 to {self._vocabulary - 1}")
        return numbers


def hash_words(text: str, vocabulary: int) -> list[int]:
    """Return a number from 1 to ``vocabulary - 1`` for each word, the same for the same word in lower case."""
    return [1 + zlib.crc32(word.encode("utf-8", "replace")) % (vocabulary - 1) for word in _WORD.findall(text.lower())]
