"""One fix as edits, for editors and SARIF: realised, but verified only when it is applied."""

from __future__ import annotations

from dbsafety.fix.footprint import footprint
from dbsafety.fix.locate import ParsedFile
from dbsafety.fix.realize import realise
from dbsafety.fix.tree import TreeIndex, missing_imports
from dbsafety.model.edit import Fix
from dbsafety.model.rewrite import FixPlan
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText


class EditMaker:
    """Makes the edits of plans for one file; parses it once."""

    def __init__(self, data: bytes, path: str) -> None:
        """Raises SourceFault when Python cannot parse the file, FixRefused when it cannot be rewritten."""
        text = SourceText.decode(data, path)
        self._index = TreeIndex(parse_tree(text, path))
        self._parsed = ParsedFile.parse(text)

    def fix(self, plan: FixPlan) -> Fix:
        """The smallest edits that carry out the plan. Raises FixRefused when it does not fit the file."""
        imports = missing_imports(self._index.tree, [plan])
        lines = footprint(plan, self._index, self._parsed.text)
        realised = realise(self._parsed, [plan], imports, [lines])
        return Fix(realised.edits, plan.applicability, plan.title)
