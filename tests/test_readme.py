"""README: its examples run, its parameters are the models', its tables have places."""

import inspect
import re

import pytest

from bench.readme import MEANINGS, MODELS, markdown, parameters
from bench.report import README, rewrite
from fastals import demo

TEXT = README.read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})


def test_there_is_an_example():
    assert EXAMPLES


def test_parameters_are_those_of_the_models():
    assert markdown(parameters()) in TEXT
    assert {name for model in MODELS for name in inspect.signature(model).parameters} == set(MEANINGS)


def test_a_table_is_markdown_with_numbers_to_the_right():
    table = demo.Table("speed", "Title", ("", "seconds"), [("ours", 0.5), ("theirs", None)], "Note.")
    assert markdown(table) == "|  | seconds |\n| :--- | ---: |\n| ours | 0.5000 |\n| theirs |  |\n\nNote."


def test_every_table_has_its_place():
    for name in ("ranking", "ratings", "signs", "example", "speed", "recommendations"):
        assert rewrite(TEXT, name, "x").count(f"<!-- table:{name} -->\nx\n") == 1
