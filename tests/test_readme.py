"""README and docs: their examples run, their parameters are the models', their tables have places, their links lead."""

import inspect
import re
import runpy
import shlex

import pytest

import fastals
from bench.picture import PICTURE, seconds
from bench.readme import GUIDE, MODELS, PUBLISHED, markdown, parameters, reliability
from bench.report import BENCHMARKS, README, ROOT, rewrite
from fastals.__main__ import main
from fastals.command.options import MEANINGS
from fastals.report import Table

PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
}
PAGES = {page: text for page, text in PAGES.items() if not page.startswith("docs/examples/")}  # copies of examples/
EXAMPLES = {
    page: blocks
    for page, text in PAGES.items()
    if (blocks := re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
}
# What a page may need beyond the extra "dev"; the last one is what faiss looks for in a NumPy that is too old for it.
OPTIONAL = {"faiss", "fastapi", "httpx", "pydantic", "numpy._core"}


@pytest.mark.filterwarnings("ignore:Using `httpx`")  # which one the test client of FastAPI takes is its own concern
@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_run(page, tmp_path, monkeypatch):
    """All examples of a page, one after the other: later ones may use the names of earlier ones."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}
    for number, code in enumerate(EXAMPLES[page], start=1):
        try:
            exec(compile(code, f"{page}, example {number}", "exec"), names)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            pytest.skip(f"{page} needs {error.name}")


def test_readme_is_short_and_has_examples():
    assert PAGES["README.md"].count("\n") <= 150
    assert len(EXAMPLES["README.md"]) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_parameters_are_those_of_the_models():
    assert markdown(parameters()) in GUIDE.read_text()
    assert {name for model in MODELS for name in inspect.signature(model).parameters} == set(MEANINGS)


def test_faults_are_those_that_the_fault_suite_kept():
    assert markdown(reliability()).strip() in PAGES["README.md"]


def test_a_table_is_markdown_with_numbers_to_the_right():
    table = Table("speed", "Title", ("", "seconds"), [("ours", 0.5), ("theirs", None)], "Note.")
    assert markdown(table) == "|  | seconds |\n| :--- | ---: |\n| ours | 0.5000 |\n| theirs |  |\n\nNote."


def test_every_published_table_has_its_place():
    for name in PUBLISHED:
        assert rewrite(BENCHMARKS.read_text(), name, "x").count(f"<!-- table:{name} -->\nx\n") == 1


def test_the_picture_has_the_figures_of_the_table():
    found = seconds()
    assert PICTURE.exists() and {"fastals", "implicit"} <= set(found["ml-1m"])
    assert found["lastfm-2k"]["fastals"][0][0] == 32 and all(
        time < dict(found[data]["irspack"]).get(k, 1e9) for data in found for k, time in found[data]["fastals"]
    )


def test_commands_of_the_guide_run(tmp_path, monkeypatch, capsys):
    """All lines of the page, one after the other, on the file that the page describes."""
    pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "jobs" / "orders.py"), run_name="__main__")
    lines = re.findall(r"^\$ fastals (.*)$", PAGES["docs/guide/command.md"], re.MULTILINE)
    assert {line.split()[0] for line in lines} == {"fit", "recommend", "similar", "info", "evaluate", "tune", "demo"}
    for line in lines:
        assert main(shlex.split(line)) == 0 and capsys.readouterr().out, line
    assert {"model.npz", "best.npz", "recommendations.csv", "report"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("line", re.findall(r"^    fastals (.*?)(?:\s+#.*)?$", PAGES["README.md"], re.MULTILINE))
def test_commands_of_the_readme_are_understood(line, tmp_path, monkeypatch, capsys):
    """Each line in turn, on a file as that of the example: what is needed is there."""
    pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    events = "".join(f"{user},{item}\n" for user in range(8) for item in range(user % 3, 6))
    (tmp_path / "orders.csv").write_text("customer,product\n" + events)
    if "model.npz" in line and "fit" not in line.split():
        orders = fastals.Interactions.from_triplets(["1", "1", "2"], ["3", "4", "4"])
        fastals.ImplicitALS(2, random_state=0).fit(orders).save("model.npz")
    assert main(line.split()) == 0
