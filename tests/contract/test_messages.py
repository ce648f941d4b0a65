"""What every rule owes to whoever reads its findings on one line: a headline that begins with the culprit and ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dbsafety.api import check_source
from dbsafety.model.message import LONGEST_LINE, Message
from tests.harness.faces import FIXTURES, variants

FOLDERS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
SUBJECT = re.compile(r"`|the (connection opened here|connection of `|rows of `|\w+ connection)")
"""A piece of code, or what the finding stands at."""
OWN = "dbs0"
"""The tool's own codes speak about a file or a comment, and have no consequence."""


def messages(folder: str) -> Iterator[tuple[str, Message]]:
    """Each message that the fixtures of a rule show, with the place."""
    for path in sorted((FIXTURES / folder).glob("*.py")):
        for variant in variants(path):
            if variant.fixture.runs_here:
                for one in check_source(variant.source, path=variant.name, settings=variant.settings):
                    if one.code.lower() == folder:
                        yield f"{variant.name}:{one.span.line}", one.said


@pytest.mark.parametrize("folder", FOLDERS)
def test_headlines_fit_and_begin_with_the_subject(folder: str) -> None:
    wrong = [
        f"{place}: {said.headline}"
        for place, said in messages(folder)
        if len(said.headline) > LONGEST_LINE
        or said.headline.count("`") % 2
        or any(part.endswith(".") for part in (said.headline, said.consequence, said.remedy))
        or not (folder.startswith(OWN) or SUBJECT.match(said.headline))
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", [name for name in FOLDERS if not name.startswith(OWN)])
def test_every_finding_says_what_to_do(folder: str) -> None:
    assert [place for place, said in messages(folder) if not said.remedy] == []
