"""Golden pairs for fixes: `fix_x.py` becomes `fix_x.fixed.py`, byte for byte, and the result keeps five promises."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

from dbsafety.api import check_source, fix_source
from tests.harness.faces import Variant, variants


def golden_differences(path: Path, *, update: bool = False) -> list[str]:
    """Fix the source (unsafe fixes too) and compare; with `update` the golden file is written instead."""
    (variant,) = variants(path)
    target = path.with_suffix(".fixed.py")
    fixed = fixed_text(variant)
    if update:
        target.write_bytes(fixed.encode())
    if not target.exists():
        return [f"{target.name} is missing"]
    problems = broken_promises(variant, fixed)
    if fixed.encode() != target.read_bytes():
        problems.append(f"differs from {target.name}:\n{fixed}")
    return problems


def fixed_text(variant: Variant) -> str:
    """The source with every fix applied."""
    return fix_source(variant.source, variant.name, variant.settings, unsafe=True).new.decode()


def broken_promises(variant: Variant, fixed: str) -> list[str]:
    """What a fixed source must hold whatever the fix: it parses, fewer findings and none of a new code, no further
    change when fixed again, every comment still there, the same newlines."""
    problems = []
    ast.parse(fixed)
    before = Counter(one.code for one in check_source(variant.source, path=variant.name, settings=variant.settings))
    after = Counter(one.code for one in check_source(fixed, path=variant.name, settings=variant.settings))
    if fixed != variant.source and after.total() >= before.total():
        problems.append(f"no finding went: {dict(after)}")
    if new := {code: count for code, count in after.items() if count > before[code]}:
        problems.append(f"new findings: {new}")
    if fixed_text(Variant(variant.name, fixed, variant.fixture)) != fixed:
        problems.append("changes again when fixed again")
    if lost := comments(variant.source) - comments(fixed):
        problems.append(f"comments lost: {sorted(lost.elements())}")
    if newlines(variant.source) != newlines(fixed):
        problems.append(f"newlines {newlines(variant.source)} became {newlines(fixed)}")
    return problems


def comments(source: str) -> Counter[str]:
    """The comments of a source, except those that speak to dbsafety (an unused one is removed on purpose)."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return Counter(text for text in texts if "dbsafety:" not in text and "noqa" not in text)


def newlines(source: str) -> set[str]:
    """The kinds of line ends in use."""
    return {line[len(line.rstrip("\r\n")) :] for line in source.splitlines(keepends=True)} - {""}
