"""docs/extending.md is true: its blocks, put where they say into a copy of the package, make a method that has every promised property."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import World, world

__all__ = ["world"]

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|yaml)\n# (\S+?)(?:, (in|above) (\w+))?\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
ADDED = {"einthoven/objectives/vicreg.py", "tests/objectives/test_vicreg_objective.py", "recipes/mine.yaml"}
CHANGED = {"einthoven/objectives/__init__.py", "einthoven/recipes/published.py", "tests/objectives/objective_cases.py"}


SEVERAL = """
import json, pathlib, sys
sys.path.insert(0, "tests")
from command_line import einthoven
outcomes = [einthoven(words, pathlib.Path()) for words in json.loads(sys.argv[1])]
assert not any(one.code for one in outcomes), outcomes
print(json.dumps([one.out for one in outcomes]))
"""
"""Several commands in one process, which imports torch once; says what each of them said."""


def put(root: Path, path: str, where: str, name: str, body: str) -> None:
    """A block into the file that it names: all of it, or in or above the statement that begins with ``name``."""
    file = root / path
    if not where:
        file.parent.mkdir(exist_ok=True)
        file.write_text(body, encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [number for number, line in enumerate(lines) if re.match(rf"{name}\b.*[{{]$", line)]
    lines.insert(place + (where == "in"), body)
    file.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def extended(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the page's blocks in it, beside the small world's store."""
    root = tmp_path_factory.mktemp("extended")
    for part in ("einthoven", "tests/objectives"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py", "tests/real_folders.py", "tests/command_line.py"):
        shutil.copy(ROOT / name, root / name)
    (root / "store").symlink_to(world.folder / "store")
    for _, path, where, name, body in BLOCKS:
        put(root, path, where, name, body)
    return root


def run(words: list[str], root: Path) -> str:
    """What a Python program says that finds the copy first; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_a_method_touches_its_file_the_tables_and_tests_and_nothing_else(extended: Path):
    touched = {path for _, path, *_ in BLOCKS}
    assert touched == ADDED | CHANGED
    for path in sorted(CHANGED):
        before, after = ((root / path).read_text().splitlines() for root in (ROOT, extended))
        added = [line for _, where_to, where, _, body in BLOCKS if (where_to, bool(where)) == (path, True) for line in body.splitlines()]
        assert len(after) == len(before) + len(added)
    lines = [body for _, path, where, _, body in BLOCKS if where == "in"]
    assert len(lines) == 3 and all(body.count("\n") == 1 for body in lines)  # one line in each table


def test_the_words_around_the_example_name_what_is_there():
    inline = set(re.findall(r"`((?:models|augment|layers|objectives|recipes|tests)/[\w/]+\.(?:py|yaml))`", TEXT))
    assert len(inline) >= 8
    missing = [path for path in inline if not ((ROOT if path.startswith("tests") else ROOT / "einthoven") / path).exists()]
    assert not missing
    from einthoven.augment import AUGMENTS, time_out
    from einthoven.models import ENCODERS, PRESETS
    from einthoven.objectives import OBJECTIVES
    from einthoven.recipes.published import FINETUNE, PRETRAIN

    assert callable(time_out.silenced) and all((AUGMENTS, ENCODERS, PRESETS, PRETRAIN, FINETUNE))
    assert "vicreg" not in OBJECTIVES, "the page's example is in the package now: take another one"


@pytest.mark.slow
def test_the_example_holds_every_contract_of_an_objective(extended: Path):
    cases = extended / "tests" / "objectives" / "objective_cases.py"
    cases.write_text(cases.read_text() + '\nCASES = {"vicreg": CASES["vicreg"]}\n')  # the others are tested where they are at home
    tests = ["tests/objectives/test_vicreg_objective.py", "tests/objectives/test_every_objective.py"]
    said = run(["-m", "pytest", *tests, "-k", "vicreg", "-p", "no:cacheprovider", "-rA"], extended)
    promised = ("by_heart", "bit_for_bit", "two_processes", "half_precision", "keeps_the_contract", "of_the_paper", "gradients")
    passed = [line for line in said.splitlines() if line.startswith("PASSED")]
    for part in promised:
        assert any(part in line for line in passed), (part, said)
    assert "skipped" not in said


@pytest.mark.slow
def test_the_commands_of_the_page_run_as_they_stand(extended: Path):
    ours = [shlex.split(line) for line in COMMANDS]
    assert [words[0] for words in ours] == ["einthoven", "einthoven", "einthoven", "python", "einthoven"]
    wanted = [words[1:] for words in ours if words[0] == "einthoven"]
    options, pretrained, tuned, mine = json.loads(run(["-c", SEVERAL, json.dumps(wanted)], extended))
    for option in ("invariance", "variance", "covariance", "projection"):
        assert f"objective.{option}" in options
    assert "weights of the three terms" in options
    for name, text in (("vicreg", pretrained), ("probe", tuned), ("mine", mine)):
        assert f"runs/{name}/model" in text and (extended / "runs" / name / "model" / "model.safetensors").exists()
    logged = (extended / "runs" / "vicreg" / "metrics.jsonl").read_text()
    assert all(f'"{part}"' in logged for part in ("invariance", "variance", "covariance"))
    assert '"temperature": 0.2' in (extended / "runs" / "mine" / "recipe.json").read_text()
