"""What may be told: no secrets, nothing that a terminal obeys, nothing that Markdown takes for its own."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.telling import Secrets, markdown_text, printable, quoted, split_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve 青\tand\nso on", "plain, naïve 青\tand\nso on"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("over\rwritten\b", r"over\rwritten\x08"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_terminal_is_shown_what_it_would_obey(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_nothing_printable_commands_a_terminal(text):
    assert all(
        character.isprintable() or character in "\t\n" or not character.isascii() for character in printable(text)
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("OCR", "OCR"),
        ("![x](http://tell.example/a)", r"!\[x\](http\://tell.example/a)"),
        ("<img src=x>", "&lt;img src=x>"),
        ("a | b\nc", r"a \| b c"),
        ("www.tell.example", r"www\.tell.example"),
        ("`code` *bold* \\", r"\`code\` \*bold\* \\"),
        ("\x1b[0m", r"\\x1b\[0m"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown_text(text) == shown


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8000/v1", ("http://127.0.0.1:8000/v1", None)),
        ("https://me:p%40ss@host.example:1/v1", ("https://host.example:1/v1", ("me", "p@ss"))),
        ("https://token@host.example/v1", ("https://host.example/v1", ("token", ""))),
    ],
)
def test_a_url_is_told_without_its_password(url, parts):
    assert split_credentials(url) == parts


def test_secrets_are_hidden_wherever_they_stand():
    basic = base64.b64encode(b"me:hunter2").decode()
    secrets = Secrets(["my-own-key", "none"], [("me", "hunter2")])
    said = f"none of: key my-own-key, Basic {basic}, 'hunter2', http://a:b@host/v1, Bearer abcdef123, sk-abcdefgh12**34"
    assert secrets.hide(said) == "none of: key ***, Basic ***, '***', http://***@host/v1, Bearer ***, ***"


@pytest.mark.parametrize(
    "value", ["x" * 999, b"x" * 999, ["x" * 999] * 999, {"x" * 999: 1}, 10**900, "a\nb", {1: {2: "\n"}}]
)
def test_a_value_is_quoted_in_one_line(value):
    said = quoted(value)
    assert "\n" not in said
    assert len(said) <= 103
    assert quoted("é\t'") == repr("é\t'")
    assert quoted([1, "a", None]) == "[1, 'a', None]"
