"""An export that is killed before any of its writes: a file that is there is whole, and LLaMA-Factory knows it."""

import pytest

from deepeyes_env.trajectories.export import check, export
from tests.dying import deaths


@pytest.mark.integration
@pytest.mark.parametrize(("format", "name"), [("sharegpt", "a.jsonl"), ("messages", "a.json")])
def test_a_file_that_is_there_can_be_used(tmp_path, oracle, format, name):
    out = tmp_path / "data" / name
    appeared = []
    for _ in deaths(lambda: export(oracle[:1], out, format), tmp_path):
        appeared.append(out.exists())
        assert not out.exists() or check(out, format).rows == 1
        out.unlink(missing_ok=True)
        out.with_name("dataset_info.json").unlink(missing_ok=True)
    assert len(appeared) > 5
    assert check(out, format).rows == 1
