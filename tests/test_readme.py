"""Run the code of the README, in order, and check its links."""

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(block, names)
    plt.close("all")
    assert (tmp_path / "digits.png").exists()
    assert names["som"].grid_shape_ == (16, 13)
    assert names["search"].best_score_ > 0.9
    assert len(set(names["labels"])) == 10


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_link_target_exists(target):
    assert (ROOT / target).exists()
