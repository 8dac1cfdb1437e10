"""These tests run in the environment of ``make test-verl``, and are skipped in any other."""

import pytest

pytest.importorskip("verl", reason="verl is not installed here; `make test-verl` makes an environment for it")
