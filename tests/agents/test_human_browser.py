"""The browser is given a file, not the token."""

import stat

from deepeyes_env.agents.human.browser import opened

URL = "http://127.0.0.1:1234/secret-token/"


def test_the_token_is_in_a_file_of_the_owners_and_not_on_the_command_line(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("webbrowser.open", given.append)
    door = tmp_path / "open.html"
    door.write_text("left by a killed run")
    with opened(URL, door):
        assert given == [door.as_uri()]
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        assert f'content="0;url={URL}"' in door.read_text()
    assert not door.exists()
