"""Names for findings that survive moved lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b

from dbsafety.model.finding import Finding
from dbsafety.source.text import SourceText


def fingerprinted(findings: Iterable[Finding], text: SourceText) -> tuple[Finding, ...]:
    """The findings of one file, each with its fingerprint, in the order given.

    A fingerprint is a hash of code, enclosing function, source line without its blanks, and the ordinal among equals;
    no line number and no path is in it, so it survives edits elsewhere and a renamed file.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    named = []
    for finding in findings:
        key = (finding.code, finding.scope, " ".join(text.line(finding.span.line).split()))
        ordinal = seen[key]
        seen[key] += 1
        digest = blake2b("\0".join((*key, str(ordinal))).encode("utf-8", "surrogatepass"), digest_size=16)
        named.append(replace(finding, fingerprint=digest.hexdigest()))
    return tuple(named)
