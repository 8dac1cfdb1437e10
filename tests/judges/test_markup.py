import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.judges.markup import plain, unified


@pytest.mark.parametrize(
    "text",
    [
        "**B**", "***B***", "*B*", "__B__", "_B_", "`B`", "# B", "### B", "> B", "- B", "* B", "• B", "> **B**",
        "```\nB\n```", "```text\nB\n```", "<b>B</b>", "<strong>B</strong>", "<p>B</p>", "<answer>B</answer>",
        "B</answer>",
        "<final_answer>B</final_answer>", "<output>B</output>", "<think>A or C?</think>\nB",
        "B<|im_end|>", "B<|endoftext|>", "<|im_start|>assistant\nB<|im_end|>", "B</s>", "<s>B</s>", "B<eos>",
        "B<end_of_turn>", "B<｜end▁of▁sentence｜>", "[INST]B[/INST]",
        "$B$", "$$B$$", r"\(B\)", r"\[B\]", r"\boxed{B}", r"\boxed{\text{B}}",
        r"$\boxed{\mathrm{\textbf{B}}}$", r"\fbox{B}",
        '{"answer": "B"}', "{'answer': 'B'}", '```json\n{"answer": "B"}\n```', '[{"answer": "B"}]',
        '{"Final Answer": "B"}',
        '{"reason": "A is blue", "answer": "B"}', '{"answer": {"option": "B"}}', '{"colour": "B"}', '{"answer": ["B"]}',
        "Ｂ", "𝐁", "Ⓑ", "🅑", "\u200bB\ufeff", "B\u2060\u00ad", "B\ue000", "~~A~~ B",
    ],
)  # fmt: skip
def test_what_is_said_under_the_markup(text: str) -> None:
    assert plain(text).strip() == "B"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("【B】", "[B]"),
        ("「B」", '"B"'),
        ("«B»", '"B"'),
        ("“B”", '"B"'),
        ("B。", "B."),
        ("B।", "B."),
        ("B؟", "B?"),
        ("A、B，C", "A,B,C"),
        ("（B）", "(B)"),
        ("10²", "10^2"),
        ("1½", "1 1/2"),
        ("A → B", "A > B"),
        (r"1{,}200", "1,200"),
        (r"\$5", "$5"),
        (r"7\%", "7%"),
        ("**Final Answer:** **B**", "Final Answer: B"),
        ("**B** or *C*", "B or C"),
        (r"So \boxed{B}.", "So  answer: B."),
        ("So <answer>B</answer>", "So  answer: B"),
        ('Here: {"answer": "B", "why": "A"}', "Here: \nanswer: B"),
        ('{"option": "B", "text": "red"}', "B\nred"),
        ('{"answer": "B"}\nC', "answer: B\n\nC"),
        ('{"answer": "B"} or {"answer": "C"}', "answer: B\n or \nanswer: C"),
        ('{"answer": "B", "why": "A', "B"),
        (r"\boxed{A} or \boxed{B}", "answer: A or  answer: B"),
    ],
)
def test_other_signs_and_marked_answers(text: str, said: str) -> None:
    assert plain(text).strip() == said


@pytest.mark.parametrize(
    "text",
    ["2*3*4", "2**3**4", "x_1 and x_2", "snake_case_name", "$5 and $6", "$5-$6", r"\frac{1}{2}",
     "<B>", "- 5", "> 5", "-3",
     "{2007, 2008}", '{"bbox_2d": [1, 2, 3, 4], "label": "vase"}', "#5", "a < b",
     '{"thought": "B"}', "5 ~ 6", "[1, 2]"],
)  # fmt: skip
def test_what_is_no_markup_is_kept(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_it_never_raises_and_settles(text: str) -> None:
    assert plain(text) is not None
    assert unified(unified(text)) == unified(text)


@pytest.mark.parametrize(
    "unit",
    ["{", "{:", "**a ", "*a ", "$x ", "<a ", "<b>", "~~a", "`a ", "\\text{", "\\boxed{a}", "_a ",
     "[{", '{"a":', "\n# ", "```\n",
     "\\(", "</a", "<|a", "<answer>", '{"answer": 1}', "{'a':'", "\u200b", "' "],
)  # fmt: skip
def test_long_texts(unit: str) -> None:
    """Anything slower than linear would not come back."""
    plain(unit * (200_000 // len(unit)))
