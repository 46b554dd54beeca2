"""README and docs: their examples run, their parameters are the models', their tables have places, their links lead."""

import inspect
import re

import pytest

from bench.readme import GUIDE, MEANINGS, MODELS, PUBLISHED, markdown, parameters
from bench.report import BENCHMARKS, README, ROOT, rewrite
from fastals import demo

PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
}
EXAMPLES = [
    pytest.param(page, code, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_examples_run(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {})


def test_readme_is_short_and_has_examples():
    assert PAGES["README.md"].count("\n") <= 150
    assert sum(example.values[0] == "README.md" for example in EXAMPLES) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_parameters_are_those_of_the_models():
    assert markdown(parameters()) in GUIDE.read_text()
    assert {name for model in MODELS for name in inspect.signature(model).parameters} == set(MEANINGS)


def test_a_table_is_markdown_with_numbers_to_the_right():
    table = demo.Table("speed", "Title", ("", "seconds"), [("ours", 0.5), ("theirs", None)], "Note.")
    assert markdown(table) == "|  | seconds |\n| :--- | ---: |\n| ours | 0.5000 |\n| theirs |  |\n\nNote."


def test_every_published_table_has_its_place():
    for name in PUBLISHED:
        assert rewrite(BENCHMARKS.read_text(), name, "x").count(f"<!-- table:{name} -->\nx\n") == 1
