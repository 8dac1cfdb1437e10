"""The language model: equal to transformers' own forward, with gradients, with and without checkpointing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers import language  # noqa: E402
from deepeyes_env.agents.transformers.attention import MaskedAttention  # noqa: E402
from deepeyes_env.agents.transformers.kv import KVCache, causal_mask  # noqa: E402

LENGTH = 9


def inputs():
    """Three rows; the second begins later, and positions along the axes differ as behind an image."""
    torch.manual_seed(0)
    filled = torch.ones(3, LENGTH, dtype=torch.bool)
    filled[1, :4] = False
    positions = torch.arange(LENGTH)[None, None].repeat(3, 3, 1) + torch.randint(0, 5, (3, 3, LENGTH))
    return 0.5 * torch.randn(3, LENGTH, 64), positions, filled


def ours_of(policy):
    """Our forward pass, with the axes that the family's channels turn along."""
    sections = policy.model.config.text_config.rope_parameters["mrope_section"]
    axes = tuple(policy.architecture.rotary_axes(sections))
    return lambda text, embedded, positions, attention, deep=(): language.forward(
        text, embedded, positions, attention, axes, deep
    )


def theirs(text, embedded, positions, attention):
    mask = attention.attention_mask
    return text(
        inputs_embeds=embedded,
        position_ids=positions,
        attention_mask=mask if text.config.model_type == "qwen3_vl_text" else {"full_attention": mask},
        use_cache=False,
    ).last_hidden_state


def gradients(forward, text):
    embedded, positions, filled = inputs()
    text.zero_grad(set_to_none=True)
    hidden = forward(text, embedded, positions, MaskedAttention(causal_mask(filled)))
    (hidden[filled].cos().sum()).backward()
    found = {name: weight.grad.clone() for name, weight in text.named_parameters() if weight.grad is not None}
    text.zero_grad(set_to_none=True)
    return hidden.detach()[filled], found


def test_states_and_gradients_are_those_of_transformers(any_policy):
    text = any_policy.model.model.language_model
    (ours, our_gradients), (expected, their_gradients) = gradients(ours_of(any_policy), text), gradients(theirs, text)
    assert torch.allclose(ours, expected, atol=2e-5)
    assert our_gradients.keys() == their_gradients.keys()
    assert len(our_gradients) > 20
    for name, gradient in their_gradients.items():
        assert torch.allclose(our_gradients[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


def test_gradients_are_the_same_with_checkpointing(policy):
    text = policy.model.model.language_model
    plain = gradients(ours_of(policy), text)[1]
    policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        assert text.layers[0].gradient_checkpointing
        again = gradients(ours_of(policy), text)[1]
    finally:
        policy.model.gradient_checkpointing_disable()
    assert all(torch.allclose(plain[name], again[name], rtol=1e-4, atol=1e-5) for name in plain)


@torch.no_grad()
@pytest.mark.parametrize("pieces", [(9,), (4, 5), (1, 1, 7), (8, 1)])
def test_prefill_in_pieces_equals_prefill_at_once(policy, pieces):
    text = policy.model.model.language_model
    embedded, positions, _ = inputs()
    filled = torch.ones(3, LENGTH, dtype=torch.bool)
    forward = ours_of(policy)
    whole = forward(text, embedded, positions, MaskedAttention(causal_mask(filled)))
    cache, parts, start = KVCache(torch.zeros(3, 0, dtype=torch.bool)), [], 0
    for length in pieces:
        part = slice(start, start + length)
        attention = MaskedAttention(cache.extend(filled[:, part]), cache)
        parts.append(forward(text, embedded[:, part], positions[:, :, part], attention))
        start += length
    assert torch.allclose(torch.cat(parts, 1), whole, atol=2e-5)


@torch.no_grad()
def test_outputs_selected_at_the_last_tokens_are_those_among_all(policy):
    text = policy.model.model.language_model
    embedded, positions, filled = inputs()
    mask = causal_mask(filled)
    forward = ours_of(policy)
    whole = forward(text, embedded, positions, MaskedAttention(mask))
    last = forward(text, embedded, positions, MaskedAttention(mask, last_only=True))
    assert last.shape == (3, 1, 64)
    assert torch.allclose(last[:, 0], whole[:, -1], atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2])
def test_deep_features_are_added_after_the_first_layers(any_policy, levels):
    """As transformers does with Qwen3-VL's, also where the layer is the last, which is computed at outputs only."""
    text = any_policy.model.model.language_model
    embedded, positions, filled = inputs()
    deep = [torch.randn_like(embedded) for _ in range(levels)]
    attention = MaskedAttention(causal_mask(filled), last_only=True)
    ours = ours_of(any_policy)(text, embedded, positions, attention, deep)
    hooks = [
        layer.register_forward_hook(lambda _module, _given, output, level=level: output + level)
        for layer, level in zip(text.layers, deep, strict=False)
    ]
    expected = theirs(text, embedded, positions, attention)[:, -1:]
    for hook in hooks:
        hook.remove()
    assert torch.allclose(ours, expected, atol=2e-5)
