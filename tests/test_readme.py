"""README: its examples run, its parameters are the models', its tables have places."""

import inspect
import re

import pytest

import fastals
from bench.readme import README, filled, parameters
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
    assert parameters() in TEXT
    for model in (fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS):
        for name in inspect.signature(model).parameters:
            assert f"| `{name}` |" in TEXT


def test_every_table_is_filled_between_its_own_markers():
    table = demo.Table("speed", "Title", ("", "seconds"), [("ours", 0.5), ("theirs", None)], "Note.")
    text = filled("a\n<!-- table:speed -->\nold\n<!-- /table:speed -->\nb", table)
    assert text == (
        "a\n<!-- table:speed -->\n|  | seconds |\n| :--- | ---: |\n| ours | 0.5000 |\n| theirs |  |\n\nNote.\n"
        "<!-- /table:speed -->\nb"
    )
    with pytest.raises(ValueError, match="one pair of markers"):
        filled("nothing", table)
    for name in ("ranking", "ratings", "signs", "example", "speed", "recommendations"):
        assert TEXT.count(f"<!-- table:{name} -->") == TEXT.count(f"<!-- /table:{name} -->") == 1
