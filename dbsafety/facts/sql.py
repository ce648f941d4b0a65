"""What a statement does, told from its text: verb, table, conflict clause, transaction words. Unknown means unknown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache


class Verb(Enum):
    """The class of a statement."""

    READ = "read"
    WRITE = "write"
    DDL = "ddl"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to savepoint"
    RELEASE = "release savepoint"
    OTHER = "other"
    UNKNOWN = "unknown"


class Conflict(Enum):
    """What an INSERT does when the row is already there."""

    IGNORE = "OR IGNORE"
    NOTHING = "DO NOTHING"
    UPDATE = "DO UPDATE"
    REPLACE = "OR REPLACE"


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement as far as its text is known.

    `word` is the leading keyword in capitals ("" when unknown), `table` the table written to or read first,
    `returning` whether rows come back from a write, `immediate` whether BEGIN takes the write lock at once, `cte`
    whether the text starts with WITH.
    """

    verb: Verb
    word: str = ""
    table: str = ""
    conflict: Conflict | None = None
    returning: bool = False
    immediate: bool = False
    cte: bool = False

    @property
    def writes(self) -> bool:
        """Whether rows are changed."""
        return self.verb is Verb.WRITE


UNKNOWN = Statement(Verb.UNKNOWN)

_NOISE = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|[(;]", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]+")
_STRINGS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$\$.*?\$\$", re.DOTALL)
_CTE_MAIN = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE|MERGE|SELECT)\b", re.IGNORECASE)
_TABLE = re.compile(
    r"\b(?:INTO|UPDATE(?:\s+OR\s+\w+)?(?:\s+ONLY)?|FROM(?:\s+ONLY)?|TABLE(?:\s+IF\s+(?:NOT\s+)?EXISTS)?)\s+([\w.\"`\[\]]+)",
    re.IGNORECASE,
)
_VERBS = {
    **dict.fromkeys(("SELECT", "VALUES", "SHOW", "EXPLAIN", "DESCRIBE", "FETCH", "TABLE"), Verb.READ),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "UPSERT", "COPY"), Verb.WRITE),
    **dict.fromkeys(("CREATE", "ALTER", "DROP", "TRUNCATE", "REINDEX", "GRANT", "REVOKE", "COMMENT"), Verb.DDL),
    **dict.fromkeys(("BEGIN", "START"), Verb.BEGIN),
    **dict.fromkeys(("COMMIT", "END"), Verb.COMMIT),
    **dict.fromkeys(("ROLLBACK", "ABORT"), Verb.ROLLBACK),
    "SAVEPOINT": Verb.SAVEPOINT,
    "RELEASE": Verb.RELEASE,
    **dict.fromkeys(
        (
            "PRAGMA",
            "SET",
            "VACUUM",
            "ANALYZE",
            "ANALYSE",
            "LOCK",
            "LISTEN",
            "UNLISTEN",
            "NOTIFY",
            "CALL",
            "DO",
            "RESET",
        ),
        Verb.OTHER,
    ),
    **dict.fromkeys(("REFRESH", "CLUSTER", "DISCARD", "DECLARE", "CLOSE", "MOVE", "PREPARE", "EXECUTE"), Verb.OTHER),
    **dict.fromkeys(("ATTACH", "DETACH", "CHECKPOINT", "DEALLOCATE"), Verb.OTHER),
}


@lru_cache(maxsize=4096)
def classify(text: str | None) -> Statement:
    """The first statement of `text`; `UNKNOWN` when the text is None or does not start with a word SQL knows."""
    if text is None:
        return UNKNOWN
    body = text
    while (noise := _NOISE.match(body)) is not None:
        body = body[noise.end() :]
    found = _WORD.match(body)
    word = found.group(0).upper() if found is not None else ""
    cte = word == "WITH"
    if cte:
        word = _main_word(body)
    verb = _VERBS.get(word)
    if verb is None:
        return UNKNOWN
    if verb is Verb.ROLLBACK and re.match(r"ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO\b", body, re.IGNORECASE):
        verb = Verb.ROLLBACK_TO
    if verb is Verb.READ and not cte and re.search(r"\bINTO\s+(?:TEMP|TABLE)", body, re.IGNORECASE):
        verb = Verb.DDL
    bare = _STRINGS.sub(" ", body)
    table = _TABLE.search(body)
    return Statement(
        verb=verb,
        word=word,
        table=table.group(1).strip('"`[]').lower() if table is not None else "",
        conflict=_conflict(bare) if verb is Verb.WRITE else None,
        returning=verb is Verb.WRITE and re.search(r"\bRETURNING\b", bare, re.IGNORECASE) is not None,
        immediate=verb is Verb.BEGIN and re.search(r"\b(?:IMMEDIATE|EXCLUSIVE)\b", bare, re.IGNORECASE) is not None,
        cte=cte,
    )


def _main_word(body: str) -> str:
    """The verb that a WITH statement ends in: the strongest one, since a data-changing part makes it a write."""
    words = [match.group(1).upper() for match in _CTE_MAIN.finditer(_STRINGS.sub(" ", body))]
    writes = [word for word in words if word != "SELECT"]
    return writes[0] if writes else "SELECT" if words else ""


def _conflict(bare: str) -> Conflict | None:
    upper = " ".join(bare.upper().split())
    if "OR IGNORE" in upper:
        return Conflict.IGNORE
    if "OR REPLACE" in upper or upper.startswith("REPLACE"):
        return Conflict.REPLACE
    if "ON CONFLICT" in upper:
        if "DO NOTHING" in upper:
            return Conflict.NOTHING
        return Conflict.UPDATE if "DO UPDATE" in upper else None
    return None


def shorten(text: str | None, limit: int = 44) -> str:
    """The statement's text on one line, cut for a message; "" when unknown."""
    if text is None:
        return ""
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
