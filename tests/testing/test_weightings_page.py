"""The weightings that docs/weightings.md shows how to write hold the contract."""

import re
from pathlib import Path

import pytest

from musicemo.testing import check_weighting

PAGE = Path(__file__).parents[2] / "docs" / "weightings.md"
CODE = re.findall(r"```python\n(.*?class (\w+).*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "name"), CODE, ids=lambda value: value if value.isidentifier() else "")
def test_what_the_page_shows_holds_the_contract(code, name):
    defined = {}
    exec(code, defined)
    check_weighting(defined[name])


def test_the_page_shows_one_of_each_kind():
    assert [name for _, name in CODE] == ["Worst", "Unit"]
