"""Fixtures of several files: a folder `project_*`, checked as a project, with expectations in each of its files."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from pathlib import Path

from dbsafety.api import check_paths
from dbsafety.config.load import load
from tests.harness.expect import Seen, differences, parse
from tests.harness.faces import seen


def project_differences(project: Path, folder: Path) -> list[str]:
    """Copy the project into `folder`, check it there, and compare what was found in each file with its comments.

    The project's own pyproject.toml, if any, holds its settings. The current folder is changed for the while.
    """
    place = shutil.copytree(project, folder / project.name)
    (place / "pyproject.toml").touch()
    before = Path.cwd()
    os.chdir(place)
    try:
        findings = check_paths(["."], load(place).settings).findings
    finally:
        os.chdir(before)
    by_path = defaultdict(list)
    for one in findings:
        by_path[Path(one.path).as_posix()].append(one)
    problems = []
    for path in sorted(place.rglob("*.py")):
        name = path.relative_to(place).as_posix()
        source = path.read_text(encoding="utf-8")
        found: list[Seen] = seen(by_path.pop(name, []), source)
        problems += [f"{name}:{text}" for text in differences(parse(source, name).expectations, found)]
    return problems + [f"{name}: not a file of the project" for name in by_path]
