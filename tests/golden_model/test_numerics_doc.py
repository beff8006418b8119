# SPDX-License-Identifier: Apache-2.0
"""The examples in ``docs/numerics.md`` are what the model computes."""

import doctest
from pathlib import Path

import pytest

from golden_model import smallfloat as sf

PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"


def run(text):
    """Results, report and defined names of a page's examples."""
    test = doctest.DocTestParser().get_doctest(text, {}, "numerics", str(PAGE), 0)
    report = []
    results = doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
    return results, "".join(report), test.globs


@pytest.fixture(scope="module")
def page():
    return run(PAGE.read_text())


def test_every_example(page):
    results, report, _ = page
    assert results.failed == 0, report
    assert results.attempted > 50


def test_a_changed_example_would_be_noticed():
    """Negative control."""
    changed = PAGE.read_text().replace("[2, 2, -2, 8388607]", "[2, 3, -2, 8388607]")
    assert run(changed)[0].failed == 1


def test_integer_algorithms_of_the_page_are_those_of_the_model(page):
    """The page's definitions, run on mantissas and exponents that reach every branch."""
    names = page[2]
    pairs = [(0, 0), (32768, -128), (65535, -128), (32768, 127), (65535, 127), (32769, -15),
             (65535, 0), (43691, 1), (49152, -16), (32768, 17), (54321, -1), (40000, -100)]
    for a in pairs:
        x = sf.join(*a)
        assert names["pair"](sf.sqrt(x)) == names["sqrt"](a)
        for b in pairs:
            y = sf.join(*b)
            for name in ("mul", "div", "add"):
                assert names["pair"](getattr(sf, name)(x, y)) == names[name](a, b), (name, a, b)
