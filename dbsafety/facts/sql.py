"""What a statement does, told from its text: verb, tables, conflict clause, transaction. Unknown means unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from dbsafety.facts.relations import Relations, relations
from dbsafety.facts.tokens import Kind, Tokens, split, spoken


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
    """One SQL statement, or a text of several, as far as the text is known.

    `word` is the leading keyword in capitals ("" when unknown), `table` the table written to or read first,
    `returning` whether rows come back from a write, `immediate` whether BEGIN takes the write lock at once, `cte`
    whether the text starts with WITH. `reads` and `targets` are the tables read and written (made, changed, dropped),
    names in small letters as they are written, parts of a WITH and names that are not known left out. `where`: a
    condition chooses the rows. `holds`: it takes locks that it does not need for its own work (FOR UPDATE, LOCK, an
    advisory lock). `absorbs`: the table that it makes says itself what becomes of a duplicate (`UNIQUE ON CONFLICT
    IGNORE`). `partial`: some part outside of parentheses is only known at run time, so that there may be more clauses.
    """

    verb: Verb
    word: str = ""
    table: str = ""
    conflict: Conflict | None = None
    returning: bool = False
    immediate: bool = False
    cte: bool = False
    reads: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    where: bool = False
    holds: bool = False
    absorbs: bool = False
    partial: bool = False

    @property
    def writes(self) -> bool:
        """Whether rows are changed."""
        return self.verb is Verb.WRITE


UNKNOWN = Statement(Verb.UNKNOWN)

_VERBS = {
    **dict.fromkeys(("SELECT", "VALUES", "SHOW", "EXPLAIN", "DESCRIBE", "FETCH", "TABLE"), Verb.READ),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "UPSERT", "COPY"), Verb.WRITE),
    **dict.fromkeys(("CREATE", "ALTER", "DROP", "TRUNCATE", "REINDEX", "GRANT", "REVOKE", "COMMENT"), Verb.DDL),
    **dict.fromkeys(("BEGIN", "START"), Verb.BEGIN),
    **dict.fromkeys(("COMMIT", "END"), Verb.COMMIT),
    **dict.fromkeys(("ROLLBACK", "ABORT"), Verb.ROLLBACK),
    "SAVEPOINT": Verb.SAVEPOINT,
    "RELEASE": Verb.RELEASE,
    **dict.fromkeys(("PRAGMA", "SET", "VACUUM", "ANALYZE", "ANALYSE", "LOCK", "LISTEN", "UNLISTEN"), Verb.OTHER),
    **dict.fromkeys(("NOTIFY", "CALL", "DO", "RESET", "REFRESH", "CLUSTER", "DISCARD", "DECLARE"), Verb.OTHER),
    **dict.fromkeys(("CLOSE", "MOVE", "PREPARE", "EXECUTE", "ATTACH", "DETACH", "CHECKPOINT"), Verb.OTHER),
    "DEALLOCATE": Verb.OTHER,
}
_ENDS = (Verb.BEGIN, Verb.COMMIT, Verb.ROLLBACK)
_STRENGTH = (Verb.WRITE, Verb.DDL, Verb.READ, Verb.OTHER)
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})
_INTO_NEW = frozenset({"TEMP", "TEMPORARY", "UNLOGGED", "TABLE"})
_ROW_LOCKS = frozenset({"UPDATE", "SHARE", "NO", "KEY"})


@lru_cache(maxsize=4096)
def statements(text: str | None) -> tuple[Statement, ...]:
    """The statements of `text` in order; `UNKNOWN` stands for each that does not start with a word SQL knows, and for
    a text that is None or cannot be told apart.
    """
    parts = split(text) if text is not None else None
    return tuple(_read(part) for part in parts) if parts is not None else (UNKNOWN,)


@lru_cache(maxsize=4096)
def classify(text: str | None) -> Statement:
    """What `text` does as a whole; `UNKNOWN` when that is not known of one of its statements.

    Of several statements the last BEGIN, COMMIT or ROLLBACK counts, unless rows are changed after it, else the one that
    changes most.
    """
    parts = statements(text)
    if not parts or any(part.verb is Verb.UNKNOWN for part in parts):
        return UNKNOWN
    if len(parts) == 1:
        return parts[0]
    ends = [index for index, part in enumerate(parts) if part.verb in _ENDS]
    after = parts[ends[-1] + 1 :] if ends else parts
    telling = next((part for verb in _STRENGTH[:2] for part in after if part.verb is verb), None)
    if ends and (telling is None or parts[ends[-1]].verb is Verb.BEGIN):
        telling = parts[ends[-1]]
    elif telling is None:
        telling = next((part for verb in _STRENGTH for part in parts if part.verb is verb), parts[0])
    return replace(
        telling,
        reads=_joined(part.reads for part in parts),
        targets=_joined(part.targets for part in parts),
        holds=any(part.holds for part in parts),
        absorbs=any(part.absorbs for part in parts),
        partial=any(part.partial for part in parts),
    )


def is_sql(text: str) -> bool:
    """Whether the text begins as a statement does, told without splitting it; a comment in front hides that."""
    head = text[:200].lstrip(" \t\r\n(;")
    word = head[: next((at for at, letter in enumerate(head) if not letter.isalpha()), len(head))].upper()
    return word in _VERBS or word == "WITH"


def _joined(names: Iterator[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _read(tokens: Tokens) -> Statement:
    """One statement; its leading parentheses may belong to a UNION."""
    words = spoken(tokens)
    word = next((w for w in words if w != "("), "")
    cte = word == "WITH"
    if cte:
        word = _main_word(words)
    verb = _VERBS.get(word, Verb.UNKNOWN)
    if verb is Verb.UNKNOWN:
        return UNKNOWN
    if verb is Verb.ROLLBACK and "TO" in words[1:3]:
        verb = Verb.ROLLBACK_TO
    if verb is Verb.READ and not cte and any(_pairs(words, ("INTO",), _INTO_NEW)):
        verb = Verb.DDL
    found = relations(tokens)
    return Statement(
        verb=verb,
        word=word,
        table=_first(found),
        conflict=_conflict(words, word) if verb is Verb.WRITE else None,
        returning=verb is Verb.WRITE and "RETURNING" in words,
        immediate=verb is Verb.BEGIN and ("IMMEDIATE" in words or "EXCLUSIVE" in words),
        cte=cte,
        reads=found.reads,
        targets=found.targets,
        where="WHERE" in words,
        holds=word == "LOCK" or any(_pairs(words, ("FOR",), _ROW_LOCKS)) or any(map(_is_advisory, words)),
        absorbs=word == "CREATE" and any(_pairs(words, ("ON",), ("CONFLICT",))),
        partial=any(token.kind is Kind.HOLE and token.depth == 0 for token in tokens),
    )


def _first(found: Relations) -> str:
    return found.targets[0] if found.targets else found.reads[0] if found.reads else ""


def _pairs(words: Sequence[str], first: Sequence[str], second: Sequence[str] | frozenset[str]) -> Iterator[int]:
    """Where a word of `second` follows one of `first`."""
    return (at for at, word in enumerate(words[:-1]) if word in first and words[at + 1] in second)


def _main_word(words: Sequence[str]) -> str:
    """The verb that a WITH statement ends in: the strongest one, since a data-changing part makes it a write."""
    begins = [
        word
        for before, word, after in zip(words, words[1:], (*words[2:], ""), strict=False)
        if before in ("(", ")")
        and (word in _CHANGES or word in ("SELECT", "VALUES"))
        and (word, after) != ("REPLACE", "(")
    ]
    writes = [word for word in begins if word in _CHANGES]
    return writes[0] if writes else "SELECT" if begins else ""


def _conflict(words: Sequence[str], word: str) -> Conflict | None:
    chosen = {words[at + 2] for at in _pairs(words[:-1], ("INSERT", "UPDATE"), ("OR",))}
    if "IGNORE" in chosen:
        return Conflict.IGNORE
    if "REPLACE" in chosen or word == "REPLACE":
        return Conflict.REPLACE
    if any(_pairs(words, ("ON",), ("CONFLICT",))):
        if any(_pairs(words, ("DO",), ("NOTHING",))):
            return Conflict.NOTHING
        return Conflict.UPDATE if any(_pairs(words, ("DO",), ("UPDATE",))) else None
    return None


def _is_advisory(word: str) -> bool:
    return word.startswith("PG_") and "ADVISORY" in word and "UNLOCK" not in word


def shorten(text: str | None, limit: int = 44) -> str:
    """The statement's text on one line, cut for a message; "" when unknown."""
    if text is None:
        return ""
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
