# SPDX-License-Identifier: Apache-2.0
"""Rules that hold for every file of the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = {".py", ".md", ".toml", ".json", ".txt", ".v", ".yml", ""}
MOST_LINES = 350
MOST_BYTES = 2 << 20
SELF = Path(__file__).relative_to(ROOT)
# Spelled in halves, so that this file does not break its own rule.
FORBIDDEN_IN_CODE = ["TO" + "DO", "FIX" + "ME", "no" + "qa", "type: " + "ignore"]
MACHINE_PATHS = re.compile(r"(?<![\w.$/-])/(?:home|root|work|tmp|Users)/[\w.]+")


def tracked() -> list[Path]:
    """Files of the working tree that are, or could be, committed."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                            capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(name) for name in sorted(set(listed.stdout.splitlines()))
            if (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_source_file_names_its_license_first() -> None:
    wrong = [str(path) for path in python_files()
             if read(path).split("\n", 1)[0] != "# SPDX-License-Identifier: Apache-2.0"]
    assert not wrong


@pytest.mark.parametrize("word", FORBIDDEN_IN_CODE)
def test_nothing_is_left_undone_or_silenced(word: str) -> None:
    assert not [str(path) for path in python_files() if word in read(path)]


def test_files_stay_readable_in_one_go() -> None:
    long = {str(path): count for path in python_files()
            if (count := read(path).count("\n")) > MOST_LINES}
    assert not long


def test_no_file_is_large() -> None:
    assert not [str(path) for path in tracked() if (ROOT / path).stat().st_size > MOST_BYTES]


def test_no_file_names_a_place_on_one_machine() -> None:
    found = [f"{path}: {match[0]}" for path in tracked() if path.suffix in TEXT and path != SELF
             for match in MACHINE_PATHS.finditer(read(path))]
    assert not found


def test_links_in_the_documentation_resolve() -> None:
    broken = []
    for path in (path for path in tracked() if path.suffix == ".md"):
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(path))
        broken += [f"{path}: {target}" for target in targets
                   if "://" not in target and not (ROOT / path.parent / target).exists()]
    assert not broken


def menu() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", read(Path("Makefile")), re.MULTILINE))


def test_commands_that_the_documentation_names_exist() -> None:
    from host.cli import app

    commands = {command.name for command in app.registered_commands}
    wrong = []
    for path in (path for path in tracked() if path.suffix == ".md"):
        # In code only: prose may say "make sure".
        text = read(path)
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
        wrong += [f"{path}: make {name}" for name in re.findall(r"\bmake ([a-z-]+)", code)
                  if name not in menu()]
        wrong += [f"{path}: tritforge {name}" for name in
                  re.findall(r"(?:^|`|\n)tritforge ([a-z]+)", code) if name not in commands]
    assert not wrong


def test_make_alone_prints_the_menu() -> None:
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, text=True,
                           capture_output=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == menu()


def test_the_readme_starts_with_its_two_commands() -> None:
    first_screen = "\n".join(read(Path("README.md")).splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("page", sorted(
    path.name for path in (ROOT / "docs" / "decisions").glob("*.md")))
def test_decisions_are_one_page_of_four_parts(page: str) -> None:
    text = read(Path("docs", "decisions", page))
    headings = re.findall(r"^## (\w+)", text, re.MULTILINE)
    assert headings == ["Summary", "Motivation", "Alternatives", "Drawbacks"]
    assert text.count("\n") <= 80
