"""Generator: the next messages of many conversations at once, each with a KV cache kept over its turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import ROOM, KVCache
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence, buckets
from deepeyes_env.core import PolicyTokens

_NOTHING = TokenSequence.context(np.zeros(0, np.int64))

COMPACT_BELOW = 0.75
"""Finished rows are cut out of a decode batch when no more than this share of its rows is still being generated."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How messages are sampled.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token.
        max_new_tokens: Most tokens of one message (max new tokens), the prompt not counted.
    """

    temperature: float = 1.0
    max_new_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class _CachedRow:
    """Where a conversation stands in a KV cache.

    Attributes:
        cache: Keys and values of it and others.
        row: Its row in there.
        position: Position of its next token.
        logits: ``(B, vocabulary)``, row by row: of the next token, unless tokens are pending.
    """

    cache: KVCache
    row: int
    position: int
    logits: torch.Tensor


@dataclass(eq=False, slots=True)
class CachedConversation:
    """A conversation with its KV cache, and the tokens that are yet to be prefilled.

    Attributes:
        seed: Decides, with the number of the turn, what is sampled: not which other conversations are under way.
        pending: Tokens that are not in the KV cache yet: what followed the policy's last message, and its last token.
        prompt_key: Conversations with equal keys begin with the same prompt, which is then prefilled once for all.
        greedy: Takes the likeliest token whatever the temperature.
    """

    seed: tuple[int, ...]
    pending: TokenSequence
    prompt_key: object = None
    greedy: bool = False
    turn: int = field(default=0, init=False)
    cached: _CachedRow | None = field(default=None, init=False)

    def append(self, observation: TokenSequence) -> None:
        """Add what the environment answered, to be prefilled before the next message."""
        self.pending = TokenSequence.concatenated([self.pending, observation])


OnFinished = Callable[[CachedConversation, PolicyTokens], None]
"""Called with each completion as soon as it is finished, while others are still being generated."""


@dataclass(slots=True)
class _DecodeBatch:
    """The conversations whose next message is being generated, token by token.

    Attributes:
        rows: The conversation of each row.
        cache: The KV cache of all rows.
        logits: ``(B, vocabulary)`` of the next token.
        positions: ``(B,)``: position of the next token.
        uniforms: ``(B, max_new_tokens)``: the uniform random number that samples each token; -1: the likeliest.
        unfinished: Rows whose message is not complete.
        ids: The tokens of each row's message.
        logprobs: Their log-probabilities.
    """

    rows: list[CachedConversation]
    cache: KVCache
    logits: torch.Tensor
    positions: torch.Tensor
    uniforms: torch.Tensor
    unfinished: list[bool]
    ids: list[list[int]]
    logprobs: list[list[float]]

    @property
    def live(self) -> list[int]:
        """Numbers of the rows that are still being generated."""
        return [row for row, unfinished in enumerate(self.unfinished) if unfinished]

    def compacted(self) -> _DecodeBatch:
        """Return the live rows alone; the KV cache of the others stays with their conversations."""
        live = self.live
        index = torch.tensor(live, device=self.positions.device)
        return _DecodeBatch(
            [self.rows[row] for row in live],
            KVCache.gathered([(self.cache, row) for row in live]),
            self.logits[index],
            self.positions[index],
            self.uniforms[index],
            [True] * len(live),
            [self.ids[row] for row in live],
            [self.logprobs[row] for row in live],
        )


class Generator:
    """Generates messages with a policy, one decode batch after another: prefill, then one token a row and step.

    A decode batch is a set of conversations whose next message is due. Which ones go together does not change what is
    sampled, but for rounding: every token has its own random number.

    Args:
        policy: The model; not to be changed while conversations with a KV cache go on.
        sampling: How to sample.
    """

    def __init__(self, policy: VisionPolicy, sampling: Sampling) -> None:
        self.policy = policy
        self.sampling = sampling

    @torch.no_grad()
    def generate(self, conversations: Sequence[CachedConversation], on_finished: OnFinished) -> None:
        """Generate the next message of each conversation.

        Args:
            conversations: Each once; all that followed their last message has been appended.
            on_finished: Called with each completion as soon as it is finished.
        """
        self.prefill(conversations)
        batch = self._decode_batch(conversations)
        for step in range(self.sampling.max_new_tokens):
            tokens, logprobs = self._sample(batch.logits, batch.uniforms[:, step])
            sampled = zip(tokens.tolist(), logprobs.tolist(), strict=True)
            for row, (token, logprob) in enumerate(sampled):
                if batch.unfinished[row]:
                    batch.ids[row].append(token)
                    batch.logprobs[row].append(logprob)
                    if token in self.policy.stops or step + 1 == self.sampling.max_new_tokens:
                        self._finish(batch, row, on_finished)
            live = batch.live
            if not live:
                return
            if len(live) <= COMPACT_BELOW * len(batch.rows):
                batch, tokens = batch.compacted(), tokens[torch.tensor(live, device=tokens.device)]
            self._decode(batch, tokens)

    @torch.no_grad()
    def prefill(self, conversations: Sequence[CachedConversation]) -> None:
        """Write pending tokens into the KV cache, in parts of like length; a prompt shared by several goes in once.

        ``generate`` does so by itself; a caller that is waiting for other conversations may do it before.
        """
        firsts: dict[object, CachedConversation] = {}
        for conversation in conversations:
            if len(conversation.pending):
                firsts.setdefault(_prefill_key(conversation), conversation)
        begun = [conversation for conversation in firsts.values() if conversation.cached is None]
        resumed = [conversation for conversation in firsts.values() if conversation.cached is not None]
        prefilled = {
            _prefill_key(conversation): row
            for each in (begun, resumed)
            for part in buckets(each, lambda conversation: len(conversation.pending))
            for conversation, row in zip(part, self._prefilled(part), strict=True)
        }
        for conversation in conversations:
            if len(conversation.pending):
                conversation.cached = prefilled[_prefill_key(conversation)]
                conversation.pending = _NOTHING

    def _prefilled(self, conversations: Sequence[CachedConversation]) -> list[_CachedRow]:
        """Prefill the pending tokens of conversations that are all new, or all not."""
        batch = [conversation.pending for conversation in conversations]
        length = max(map(len, batch))
        ids = np.zeros((len(batch), length), np.int64)
        positions = np.zeros((3, len(batch), length), np.int64)
        new = np.zeros((len(batch), length), np.bool_)
        following = []
        for row, (conversation, tokens) in enumerate(zip(conversations, batch, strict=True)):
            columns = slice(length - len(tokens), length)
            ids[row, columns], new[row, columns] = tokens.ids, True
            start = conversation.cached.position if conversation.cached is not None else 0
            positions[:, row, columns], after = self.policy.positions(tokens, start)
            following.append(after)
        features = self.policy.image_features([image for tokens in batch for image in tokens.images])
        cached = [(each.cached.cache, each.cached.row) for each in conversations if each.cached is not None]
        nothing = torch.zeros(len(batch), 0, dtype=torch.bool, device=self._device)
        cache = KVCache.gathered(cached, room=length) if cached else KVCache(nothing)
        attention_mask = cache.extend(self._tensor(new))
        logits = self._logits(self._tensor(ids), self._tensor(positions), attention_mask, features, cache)
        return [_CachedRow(cache, row, position, logits) for row, position in enumerate(following)]

    def _decode_batch(self, conversations: Sequence[CachedConversation]) -> _DecodeBatch:
        """Put conversations whose next message is due together."""
        cached = [conversation.cached for conversation in conversations if conversation.cached is not None]
        for conversation in conversations:
            conversation.cached = None  # freed as soon as nobody else needs it
        return _DecodeBatch(
            list(conversations),
            KVCache.gathered([(each.cache, each.row) for each in cached], min(ROOM, self.sampling.max_new_tokens)),
            torch.stack([each.logits[each.row] for each in cached]),
            self._tensor(np.array([each.position for each in cached])),
            self._tensor(np.stack([self._uniforms(conversation) for conversation in conversations])),
            [True] * len(conversations),
            [[] for _ in conversations],
            [[] for _ in conversations],
        )

    def _decode(self, batch: _DecodeBatch, tokens: torch.Tensor) -> None:
        """Run the model on the tokens just sampled, one a row; those of finished messages leave no trace."""
        unfinished = torch.tensor(batch.unfinished, device=self._device)
        attention_mask = batch.cache.extend(unfinished[:, None])
        # A finished row attends to itself only, in a column that counts as empty.
        attention_mask = attention_mask | _last_column(attention_mask)
        positions = batch.positions[None, :, None].expand(3, -1, 1)
        batch.logits = self._logits(tokens[:, None], positions, attention_mask, (), batch.cache)
        batch.positions = batch.positions + unfinished

    def _finish(self, batch: _DecodeBatch, row: int, on_finished: OnFinished) -> None:
        """Keep the KV cache of a conversation whose message is complete, and hand the completion over."""
        conversation, ids = batch.rows[row], batch.ids[row]
        batch.unfinished[row] = False
        conversation.cached = _CachedRow(batch.cache, row, int(batch.positions[row]), batch.logits)
        conversation.turn += 1
        # The last token has been sampled, but is not in the cache.
        conversation.pending = TokenSequence.context(np.array(ids[-1:], np.int64))
        on_finished(conversation, PolicyTokens(tuple(ids), tuple(batch.logprobs[row]), (1,) * len(ids)))

    def _logits(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attention_mask: torch.Tensor,
        features: Sequence[torch.Tensor],
        cache: KVCache,
    ) -> torch.Tensor:
        """Run the model on new columns; returns ``(B, vocabulary)`` of the token after the last one."""
        attention = MaskedAttention(attention_mask, cache, last_only=True)
        hidden = self.policy.hidden(ids, positions, attention, features)
        return self.policy.logits(hidden[:, 0], self.sampling.temperature or 1.0)

    def _sample(self, logits: torch.Tensor, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a token for each row and its log-probability."""
        logprobs = torch.log_softmax(logits, -1)
        summed = logprobs.exp().cumsum(-1)
        sampled = torch.searchsorted(summed, (uniforms * summed[:, -1])[:, None].contiguous(), right=True)[:, 0]
        tokens = torch.where(uniforms < 0, logprobs.argmax(-1), sampled.clamp(max=logits.shape[1] - 1))
        return tokens, logprobs.gather(1, tokens[:, None])[:, 0]

    def _uniforms(self, conversation: CachedConversation) -> NDArray[np.float32]:
        if conversation.greedy or self.sampling.temperature == 0:
            return np.full(self.sampling.max_new_tokens, -1, np.float32)
        seed = np.random.SeedSequence((*conversation.seed, conversation.turn))
        return np.random.Generator(np.random.Philox(seed)).random(self.sampling.max_new_tokens, np.float32)

    @property
    def _device(self) -> torch.device:
        return self.policy.device

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _prefill_key(conversation: CachedConversation) -> object:
    """Return what conversations share that can be prefilled as one."""
    if conversation.cached is not None or conversation.prompt_key is None:
        return id(conversation)
    return ("prompt", conversation.prompt_key)


def _last_column(attention_mask: torch.Tensor) -> torch.Tensor:
    last = torch.zeros(attention_mask.shape[3], dtype=torch.bool, device=attention_mask.device)
    last[-1] = True
    return last
