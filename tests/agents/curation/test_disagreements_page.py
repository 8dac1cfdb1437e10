"""The page of disagreements in a browser: a button each, and a file that the command takes in."""

import json
from dataclasses import replace

import pytest

from deepeyes_env.agents.curation import begin_curation, label_answers, label_format, take_decisions, write_report
from deepeyes_env.agents.curation.label_file import label_path, read_labels
from tests.agents.evaluation.small_evaluations import samples


@pytest.mark.browser
def test_a_person_decides_and_saves(tmp_path, chromium):
    one, two, *rest = samples(4)
    evil = replace(two, question="<script>document.title = 'taken over'</script>?")
    rows = [one, replace(one, id="again", answer="no"), evil, replace(evil, id="evil", answer="no"), *rest]
    one = replace(one, boxes=[(2, 2, 20, 12), (1000, 1000, 1100, 1100)])
    rows = [one, *rows[1:]]
    begun = replace(begin_curation(tmp_path / "out", "pattern_search", {"open": False}), dataset=rows)
    label_format(begun.dataset, begun.folder, progress=False)
    label_answers(begun)
    assert write_report(begun)["disagreements"] == 4
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((begun.folder / "disagreements.html").as_uri())
    assert page.locator("article").count() == 4
    parts = page.locator('article[data-row="0"] .crops img').evaluate_all("all => all.map(one => one.naturalWidth)")
    assert parts == [24], "a box with a quarter of it around, cut at the image's edge; none of one that lies outside"
    page.locator('article[data-row="0"] button[value="right"]').click()
    page.locator('article[data-row="1"] button[value="wrong"]').click()
    page.locator('article[data-row="2"] button[value="wrong"]').click()
    page.locator('article[data-row="2"] button[value="wrong"]').click()
    assert page.locator("article.decided").count() == 2
    assert page.locator("#count").inner_text() == "2 decided on this page"
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = tmp_path / "decisions.json"
    download.value.save_as(saved)
    page.close()
    assert errors == []
    assert json.loads(saved.read_text()) == {"0": "right", "1": "wrong"}
    assert take_decisions(begun.folder, saved, len(rows)) == 2
    label_answers(begun)
    found = {each.row: each.labels["label_ok"] for each in read_labels(label_path(begun.folder, "label"))}
    assert found == {0: 1, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1}
