"""bench.textbook_script on a small made-up text."""

import numpy as np
import pytest

from bench import textbook_script as script
from fastals.compat import wals

TEXT = '''
# A text

```python
import numpy as np
np.random.seed(3)
def helper(x):
    return x
def make_mask(R, zero_means_missing=True):
    """Return the observed cells."""
    return (R > 0).astype(float)
```

What it does, and what it printed:

```python
R = np.random.random((6, 5)).round(1)
```

    array of numbers

```python
import requests, urllib3
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
answer = requests.get("https://example.org/u.data", verify=False)
answer.raise_for_status()
M = helper(make_mask(R))
print(f"Observed: {int(M.sum())}")
print("size=2: not a number")
```

```bash
exit 1
```

```python
class Frame(dict):
    columns = property(dict.keys)
    def to_dict(self, kind):
        return dict(self)

def weighted_als(R, rank=10, iters=100, reg=0.1, *, seed=42):
    """A wrong one."""
    return np.zeros((6, rank)), np.zeros((5, rank)), None, None

U, V, _, _ = weighted_als(R, rank=2, iters=1, reg=1.0, seed=7)
lengths = Frame({"Method": ["users", "items"], "length": [np.abs(U).sum(), np.abs(V).sum()], "Time (s)": [9.0, 0.5]})
numbers = Frame({"n": [1, 2]})
```
'''


@pytest.fixture
def blocks():
    return script.python_blocks(TEXT)


def test_blocks_are_those_of_python(blocks):
    assert len(blocks) == 4
    assert blocks[1] == "R = np.random.random((6, 5)).round(1)\n"


def test_only_functions_that_are_exported_become_imports(blocks):
    code = script.with_imports(blocks[0], wals)
    variables = {}
    exec(code, variables)
    assert variables["make_mask"] is wals.make_mask
    assert variables["helper"](3) == 3


def test_seeds_of_calls_are_replaced():
    assert script.with_seed("def f(*, seed=1): return seed\na = f(seed=42)", 5).endswith("a = f(seed=5)")


def run(blocks, seeds=(1, 2)):
    with script.downloads_answered(b"1 2 3"):
        return script.run_all(blocks, seeds)


def test_both_see_the_same_download_and_random_numbers(blocks):
    as_is, ours, others = run(blocks[:3])
    R = np.random.RandomState(3).random((6, 5)).round(1)
    assert as_is == ours == others[0] == {"block 3, printed": {"": ["Observed"], "value": [(R > 0).sum()]}}


def test_tables_that_differ_are_named_and_those_that_do_not_are_not(blocks):
    as_is, ours, others = run(blocks)
    assert list(as_is) == ["block 3, printed", "block 4, lengths"]
    assert as_is["block 4, lengths"]["length"] == [0, 0]
    named = script.differences(as_is, ours, others)
    assert [line.split(":")[0] for line in named] == [f"block 4, lengths, row {row}, length" for row in (0, 1)]
    assert script.differences(ours, ours, others) == []


def test_what_is_apart_by_no_more_than_seeds_are_is_the_same():
    one, other, seed = ({"t": {"Method": ["a"], "x": [x]}} for x in (1.0, 1.25, 1.5))
    assert script.differences(one, other, [seed]) == []
    assert script.differences(one, other, [other]) == ["t, row 0, x: 1 and 1.25, 1.9e-06 allowed"]
    nan = {"t": {"Method": ["a"], "x": [float("nan")]}}
    assert len(script.differences(one, nan, [seed])) == 1
    assert script.differences(one, {}, [seed]) == ["not the same tables: ['t']"]


def test_only_slow_rows_count_for_the_ratio(blocks):
    as_is, ours, others = run(blocks)
    ours["block 4, lengths"]["Time (s)"] = [0.1, 0.1]
    assert script.ratios(as_is, ours) == pytest.approx([90])
    assert "users; length 0 |" in script.side_by_side(as_is, ours, others)


@pytest.mark.parametrize(("changed", "ratio", "status"), [(True, "0", 1), (False, "0", 0), (False, "100", 1)])
def test_status(tmp_path, monkeypatch, capsys, changed, ratio, status):
    text = (
        TEXT
        if changed
        else TEXT.replace("def weighted_als", "def helper_als").replace("= weighted_als", "= helper_als")
    )
    (tmp_path / "text.md").write_text(text)
    (tmp_path / "u.data").write_text("")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    arguments = [str(tmp_path / "text.md"), "--data", str(tmp_path), "--seeds", "1", "--at-least", ratio]
    assert script.main(arguments) == status
    assert "slow rows: 1x" in capsys.readouterr().out


def test_text_and_data_are_wanted(monkeypatch, capsys):
    monkeypatch.delenv("FASTALS_DATA", raising=False)
    monkeypatch.delenv("FASTALS_TEXT", raising=False)
    with pytest.raises(SystemExit):
        script.main([])
    assert "FASTALS_TEXT and FASTALS_DATA" in capsys.readouterr().err
