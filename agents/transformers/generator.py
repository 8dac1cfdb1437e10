"""Generator: the next messages of many conversations at once, with what was read before kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import ROOM, KeyValues
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence, buckets
from deepeyes_env.core import PolicyTokens

_NOTHING = TokenSequence.context(np.zeros(0, np.int64))

CROWDED = 0.75
"""Rows whose message is complete are cut out of a wave when no more than this share of it is still being written."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How messages are sampled.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token.
        max_new_tokens: Longest message.
    """

    temperature: float = 1.0
    max_new_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class _Read:
    """What a generator keeps of a conversation.

    Attributes:
        past: What has been read of it and others.
        row: Its row in there.
        position: Position of its next token.
        logits: ``(B, vocabulary)``, row by row: of the next token, unless something is unread.
    """

    past: KeyValues
    row: int
    position: int
    logits: torch.Tensor


@dataclass(eq=False, slots=True)
class Conversation:
    """What a generator has read of a conversation, and what it has yet to read.

    Attributes:
        seed: Decides, with the number of the turn, what is sampled: not which other conversations are under way.
        unread: What was said since the last message of the policy, the policy's own last token included.
        opening: Conversations with equal openings begin with the same prompt, which is then read once for all.
        greedy: Takes the likeliest token whatever the temperature.
    """

    seed: tuple[int, ...]
    unread: TokenSequence
    opening: object = None
    greedy: bool = False
    turn: int = field(default=0, init=False)
    kept: _Read | None = field(default=None, init=False)

    def hear(self, said: TokenSequence) -> None:
        """Add what the environment answered."""
        self.unread = TokenSequence.concatenated([self.unread, said])


Spoken = Callable[[Conversation, PolicyTokens], None]
"""Called with each message as soon as it is complete, while others are still being written."""


@dataclass(slots=True)
class _Wave:
    """The conversations being written to.

    Attributes:
        rows: The conversation of each row.
        past: What has been read.
        logits: ``(B, vocabulary)`` of the next token.
        positions: ``(B,)``: position of the next token.
        chances: ``(B, max_new_tokens)``: the uniform random number that each token is drawn with; -1: the likeliest.
        writing: Rows whose message is not complete.
        ids: The tokens of each row's message.
        logprobs: Their log-probabilities.
    """

    rows: list[Conversation]
    past: KeyValues
    logits: torch.Tensor
    positions: torch.Tensor
    chances: torch.Tensor
    writing: list[bool]
    ids: list[list[int]]
    logprobs: list[list[float]]

    @property
    def live(self) -> list[int]:
        return [row for row, writing in enumerate(self.writing) if writing]

    def thinned(self) -> _Wave:
        """Return the rows that are being written; what was read of the others stays with their conversations."""
        live = self.live
        index = torch.tensor(live, device=self.positions.device)
        return _Wave(
            [self.rows[row] for row in live],
            KeyValues.gathered([(self.past, row) for row in live]),
            self.logits[index],
            self.positions[index],
            self.chances[index],
            [True] * len(live),
            [self.ids[row] for row in live],
            [self.logprobs[row] for row in live],
        )


class Generator:
    """Samples messages from a policy, wave by wave.

    A wave is a set of conversations whose next message is due. Which ones go together does not change what is sampled,
    but for rounding: every token has its own random number.

    Args:
        policy: The model; not to be changed while conversations that it has read go on.
        sampling: How to sample.
    """

    def __init__(self, policy: VisionPolicy, sampling: Sampling) -> None:
        self.policy = policy
        self.sampling = sampling

    @torch.no_grad()
    def speak(self, conversations: Sequence[Conversation], spoken: Spoken) -> None:
        """Write the next message of each conversation.

        Args:
            conversations: Each once; all that was said to them since they spoke last has been heard.
            spoken: Called with each message as soon as it is complete.
        """
        self.read(conversations)
        wave = self._wave(conversations)
        for step in range(self.sampling.max_new_tokens):
            tokens, logprobs = self._draw(wave.logits, wave.chances[:, step])
            drawn = zip(tokens.tolist(), logprobs.tolist(), strict=True)
            for row, (token, logprob) in enumerate(drawn):
                if wave.writing[row]:
                    wave.ids[row].append(token)
                    wave.logprobs[row].append(logprob)
                    if token in self.policy.stops or step + 1 == self.sampling.max_new_tokens:
                        self._complete(wave, row, spoken)
            live = wave.live
            if not live:
                return
            if len(live) <= CROWDED * len(wave.rows):
                wave, tokens = wave.thinned(), tokens[torch.tensor(live, device=tokens.device)]
            self._advance(wave, tokens)

    @torch.no_grad()
    def read(self, conversations: Sequence[Conversation]) -> None:
        """Read what is unread, in parts of like length; a prompt that several conversations begin with is read once.

        ``speak`` does so by itself; a caller that is waiting for other conversations may do it before.
        """
        firsts: dict[object, Conversation] = {}
        for conversation in conversations:
            if len(conversation.unread):
                firsts.setdefault(_opening(conversation), conversation)
        begun = [conversation for conversation in firsts.values() if conversation.kept is None]
        resumed = [conversation for conversation in firsts.values() if conversation.kept is not None]
        read = {
            _opening(conversation): state
            for each in (begun, resumed)
            for part in buckets(each, lambda conversation: len(conversation.unread))
            for conversation, state in zip(part, self._prefill(part), strict=True)
        }
        for conversation in conversations:
            if len(conversation.unread):
                conversation.kept = read[_opening(conversation)]
                conversation.unread = _NOTHING

    def _prefill(self, conversations: Sequence[Conversation]) -> list[_Read]:
        """Read what is unread of conversations that are all new, or all not."""
        batch = [conversation.unread for conversation in conversations]
        length = max(map(len, batch))
        ids = np.zeros((len(batch), length), np.int64)
        positions = np.zeros((3, len(batch), length), np.int64)
        new = np.zeros((len(batch), length), np.bool_)
        following = []
        for row, (conversation, tokens) in enumerate(zip(conversations, batch, strict=True)):
            columns = slice(length - len(tokens), length)
            ids[row, columns], new[row, columns] = tokens.ids, True
            start = conversation.kept.position if conversation.kept is not None else 0
            positions[:, row, columns], after = self.policy.positions(tokens, start)
            following.append(after)
        features = self.policy.image_features([image for tokens in batch for image in tokens.images])
        kept = [(each.kept.past, each.kept.row) for each in conversations if each.kept is not None]
        nothing = torch.zeros(len(batch), 0, dtype=torch.bool, device=self._device)
        past = KeyValues.gathered(kept, room=length) if kept else KeyValues(nothing)
        seen = past.extend(self._tensor(new))
        logits = self._logits(self._tensor(ids), self._tensor(positions), seen, features, past)
        return [_Read(past, row, position, logits) for row, position in enumerate(following)]

    def _wave(self, conversations: Sequence[Conversation]) -> _Wave:
        """Put conversations whose next message is due together."""
        kept = [conversation.kept for conversation in conversations if conversation.kept is not None]
        for conversation in conversations:
            conversation.kept = None  # freed as soon as nobody else needs it
        return _Wave(
            list(conversations),
            KeyValues.gathered([(each.past, each.row) for each in kept], min(ROOM, self.sampling.max_new_tokens)),
            torch.stack([each.logits[each.row] for each in kept]),
            self._tensor(np.array([each.position for each in kept])),
            self._tensor(np.stack([self._chances(conversation) for conversation in conversations])),
            [True] * len(conversations),
            [[] for _ in conversations],
            [[] for _ in conversations],
        )

    def _advance(self, wave: _Wave, tokens: torch.Tensor) -> None:
        """Read the tokens just drawn, one for each row; those of complete messages leave no trace."""
        writing = torch.tensor(wave.writing, device=self._device)
        seen = wave.past.extend(writing[:, None])
        # A row that is complete sees only itself, in a column that counts as empty.
        seen = seen | _last_column(seen)
        positions = wave.positions[None, :, None].expand(3, -1, 1)
        wave.logits = self._logits(tokens[:, None], positions, seen, (), wave.past)
        wave.positions = wave.positions + writing

    def _complete(self, wave: _Wave, row: int, spoken: Spoken) -> None:
        """Keep what was read of a conversation whose message is complete, and hand the message over."""
        conversation, ids = wave.rows[row], wave.ids[row]
        wave.writing[row] = False
        conversation.kept = _Read(wave.past, row, int(wave.positions[row]), wave.logits)
        conversation.turn += 1
        # The last token has been drawn but not read.
        conversation.unread = TokenSequence.context(np.array(ids[-1:], np.int64))
        spoken(conversation, PolicyTokens(tuple(ids), tuple(wave.logprobs[row]), (1,) * len(ids)))

    def _logits(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        features: Sequence[torch.Tensor],
        past: KeyValues,
    ) -> torch.Tensor:
        """Read on; returns ``(B, vocabulary)`` of the token after the last column."""
        attention = MaskedAttention(seen, past, last_only=True)
        hidden = self.policy.hidden(ids, positions, attention, features)
        return self.policy.logits(hidden[:, 0], self.sampling.temperature or 1.0)

    def _draw(self, logits: torch.Tensor, chances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a token for each row and its log-probability."""
        logprobs = torch.log_softmax(logits, -1)
        summed = logprobs.exp().cumsum(-1)
        drawn = torch.searchsorted(summed, (chances * summed[:, -1])[:, None].contiguous(), right=True)[:, 0]
        tokens = torch.where(chances < 0, logprobs.argmax(-1), drawn.clamp(max=logits.shape[1] - 1))
        return tokens, logprobs.gather(1, tokens[:, None])[:, 0]

    def _chances(self, conversation: Conversation) -> NDArray[np.float32]:
        if conversation.greedy or self.sampling.temperature == 0:
            return np.full(self.sampling.max_new_tokens, -1, np.float32)
        seed = np.random.SeedSequence((*conversation.seed, conversation.turn))
        return np.random.Generator(np.random.Philox(seed)).random(self.sampling.max_new_tokens, np.float32)

    @property
    def _device(self) -> torch.device:
        return self.policy.device

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _opening(conversation: Conversation) -> object:
    """Return what conversations share that can be read as one."""
    if conversation.kept is not None or conversation.opening is None:
        return id(conversation)
    return ("opening", conversation.opening)


def _last_column(seen: torch.Tensor) -> torch.Tensor:
    last = torch.zeros(seen.shape[3], dtype=torch.bool, device=seen.device)
    last[-1] = True
    return last
