"""Source text as Python reads it, and the only place where positions are converted between units.

Units: `line` is 1-based; `col` is an offset in UTF-8 bytes from the start of the line, as `ast` gives it; a *character*
is a code point; a *file offset* counts bytes of the file as it is on disk, byte order mark included.
"""

from __future__ import annotations

import codecs
import io
import re
import tokenize
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from dbsafety.model.faults import SourceFault
from dbsafety.model.span import Span

_LINE_END = re.compile(r"\r\n|\r|\n")
_FIRST_TWO_LINES = re.compile(rb"(?:[^\r\n]*(?:\r\n|\r|\n)){0,2}(?:[^\r\n]*)")


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file's text, decoded; `text` has no byte order mark and keeps its line ends.

    Make one with `decode` (bytes of a file) or `of` (text that is in memory). Lines end at LF, CRLF or CR and
    nowhere else: `str.splitlines` also splits at form feed, U+0085 and U+2028, where Python's parser does not.
    """

    data: bytes
    text: str
    encoding: str
    bom: bool
    _starts: tuple[int, ...] = field(repr=False)
    """Character index of the start of each line."""
    _ends: tuple[int, ...] = field(repr=False)
    """Character index of the end of each line, before its line end."""

    @classmethod
    def decode(cls, data: bytes, path: str = "") -> SourceText:
        """Decode a file the way Python does: byte order mark, then coding cookie, then UTF-8 (PEP 263).

        Raises SourceFault, with the line, when a byte does not decode or the cookie is unknown or contradicts the mark.
        """
        bom = _marked(data)
        encoding = _encoding_of(data, path)
        body = data[len(codecs.BOM_UTF8) :] if bom else data
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError as error:
            line = len(re.findall(rb"\r\n|\r|\n", body[: error.start])) + 1
            found = f"byte 0x{body[error.start]:02x}"
            raise SourceFault(f"{found} is not valid {encoding}; name the encoding in a cookie", path, line) from error
        except LookupError as error:
            raise SourceFault(f"{encoding} is not a text encoding", path, 1) from error
        except ValueError as error:
            raise SourceFault(f"the text does not decode as {encoding}", path, 1) from error
        return cls._index(data, text, encoding, bom)

    @classmethod
    def of(cls, text: str) -> SourceText:
        """Text that never was a file; its file offsets are those it would have in UTF-8."""
        return cls._index(text.encode("utf-8", "surrogatepass"), text, "utf-8", bom=False)

    @classmethod
    def _index(cls, data: bytes, text: str, encoding: str, bom: bool) -> SourceText:
        starts, ends = [0], []
        for match in _LINE_END.finditer(text):
            ends.append(match.start())
            starts.append(match.end())
        ends.append(len(text))
        return cls(data, text, encoding, bom, tuple(starts), tuple(ends))

    @property
    def line_count(self) -> int:
        """How many lines there are; text that ends in a line end has an empty last line."""
        return len(self._starts)

    @property
    def newline(self) -> str:
        """The first line end of the file, LF when there is none."""
        match = _LINE_END.search(self.text)
        return match.group() if match else "\n"

    @property
    def round_trips(self) -> bool:
        """Whether encoding the text gives the file's bytes again; where not, file offsets cannot be trusted."""
        try:
            body = self.text.encode(self.encoding)
        except ValueError:
            return False
        return (codecs.BOM_UTF8 + body if self.bom else body) == self.data

    def line(self, line: int) -> str:
        """The text of a line without its line end; "" beyond the file."""
        if not 1 <= line <= self.line_count:
            return ""
        return self.text[self._starts[line - 1] : self._ends[line - 1]]

    def lines(self) -> tuple[str, ...]:
        """All lines without their line ends."""
        return tuple(self.text[start:end] for start, end in zip(self._starts, self._ends, strict=True))

    def character_column(self, line: int, col: int) -> int:
        """UTF-8 byte column to 0-based character column; a column beyond the line means its end."""
        return _characters(self.line(line), col)

    def utf16_column(self, line: int, col: int) -> int:
        """UTF-8 byte column to 0-based column in UTF-16 code units, the default unit of editors' protocols."""
        text = self.line(line)
        prefix = text[: _characters(text, col)]
        return len(prefix.encode("utf-16-le", "surrogatepass")) // 2

    def utf8_column(self, line: int, character: int) -> int:
        """0-based character column to UTF-8 byte column."""
        return len(self.line(line)[:character].encode("utf-8", "surrogatepass"))

    def index(self, line: int, col: int) -> int:
        """Line and UTF-8 byte column to the character index in `text`; places beyond the text mean its end."""
        if line < 1:
            return 0
        if line > self.line_count:
            return len(self.text)
        return self._starts[line - 1] + self.character_column(line, col)

    def position(self, index: int) -> tuple[int, int]:
        """Character index in `text` to line and UTF-8 byte column; the inverse of `index`."""
        line = bisect_right(self._starts, index)
        return line, self.utf8_column(line, index - self._starts[line - 1])

    def span(self, start: int, end: int) -> Span:
        """The span between two character indexes."""
        return Span(*self.position(start), *self.position(end))

    def slice(self, span: Span) -> str:
        """The text at `span`."""
        return self.text[self.index(span.line, span.col) : self.index(span.end_line, span.end_col)]

    def utf8_offset(self, line: int, col: int) -> int:
        """Line and UTF-8 byte column to an offset in `text` encoded as UTF-8, without byte order mark."""
        return len(self.text[: self.index(line, col)].encode("utf-8", "surrogatepass"))

    def file_offset(self, line: int, col: int) -> int:
        """Line and UTF-8 byte column to a file offset; exact where `round_trips`."""
        mark = len(codecs.BOM_UTF8) if self.bom else 0
        return mark + len(self.text[: self.index(line, col)].encode(self.encoding, "replace"))

    def place_of_offset(self, offset: int) -> tuple[int, int]:
        """A file offset to line and UTF-8 byte column; the inverse of `file_offset`."""
        mark = len(codecs.BOM_UTF8) if self.bom else 0
        return self.position(len(self.data[mark:offset].decode(self.encoding, "ignore")))

    def encode(self, text: str) -> bytes:
        """Encode a piece of text the way the file is encoded, without byte order mark.

        Raises UnicodeEncodeError when the file's encoding cannot express it.
        """
        return text.encode(self.encoding)

    def utf8_offsets_of_lines(self) -> tuple[int, ...]:
        """Offset of each line's start in `text` encoded as UTF-8, for callers that convert many positions."""
        bounds = zip(self._starts, (*self._starts[1:], len(self.text)), strict=True)
        sizes = [len(self.text[start:end].encode("utf-8", "surrogatepass")) for start, end in bounds]
        return tuple(accumulate(sizes[:-1], initial=0))


def _characters(text: str, col: int) -> int:
    if text.isascii():
        return min(col, len(text))
    return len(text.encode("utf-8", "surrogatepass")[:col].decode("utf-8", "ignore"))


def _marked(data: bytes) -> bool:
    return data.startswith(codecs.BOM_UTF8)


def _encoding_of(data: bytes, path: str) -> str:
    first = _FIRST_TWO_LINES.match(data)
    head = first.group() if first else b""
    # Python's parser translates line ends before it looks for the cookie; `detect_encoding` splits at LF only.
    head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(head).readline)
    except SyntaxError as error:
        if b"coding" not in head:
            return "utf-8"
        reason = "the byte order mark says UTF-8 and the coding cookie does not" if _marked(data) else str(error.msg)
        raise SourceFault(reason, path, 1) from error
    return "utf-8" if encoding == "utf-8-sig" else encoding
