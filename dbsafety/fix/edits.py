"""One fix as edits, for SARIF: past every gate but the last ones, which ask the rules again (`loop.refused_alone`)."""

from __future__ import annotations

from dbsafety.fix.footprint import footprint
from dbsafety.fix.locate import ParsedFile
from dbsafety.fix.names import require_bound
from dbsafety.fix.realize import realise
from dbsafety.fix.tree import TreeIndex, missing_imports
from dbsafety.fix.verify import parsed_again, require_comments, require_planned_tree
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
        """The smallest edits that carry out the plan. Raises FixRefused when it does not fit, or at a shut gate.

        Whether the finding goes and none comes is not asked here.
        """
        text = self._parsed.text
        imports = missing_imports(self._index.tree, [plan])
        realised = realise(self._parsed, [plan], imports, [footprint(plan, self._index, text)])
        new_text, new = parsed_again(realised, text)
        old = parse_tree(text, "")  # the comparison changes both trees
        require_bound(old, new)
        require_planned_tree(old, [plan], imports, new)
        require_comments(text, new_text, [plan])
        return Fix(realised.edits, plan.applicability, plan.title)
