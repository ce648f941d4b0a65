"""What one module says: scopes, bindings, functions, classes and the attributes their methods assign."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module


class BindKind(Enum):
    """How a name gets its value."""

    VALUE = "value"
    """`name = value` (with `path` for unpacking)."""
    WITH = "with"
    """`with value as name`."""
    ELEMENT = "element"
    """`for name in value`."""
    IMPORT = "import"
    """`dotted` names the module or the member."""
    FUNCTION = "function"
    CLASS = "class"
    PARAMETER = "parameter"
    OTHER = "other"
    """Bound to something no handle can be: `except ... as`, `del`, augmented assignment."""


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """One way in which a name (or an attribute) gets a value.

    `value` is evaluated in `scope`, which for `global` names and attributes is not the scope that holds the name.
    `path` are the indices of unpacking, outermost first. `annotation` is the declared type, if any.
    """

    kind: BindKind
    scope: Scope
    node: ast.AST
    value: ast.expr | None = None
    path: tuple[int, ...] = ()
    dotted: str = ""
    function: FunctionInfo | None = None
    cls: ClassInfo | None = None
    annotation: ast.expr | None = None


@dataclass(slots=True, eq=False)
class Scope:
    """A module, class or function body with the names it binds.

    `qualname` is the dotted name inside the module ("" for the module itself). `stored` tells under which attribute a
    local name is also kept: `self.conn = conn` records `conn -> (class, "conn")`. `members` are the things that are
    put into the container a name holds. A module also binds `name.attribute` where code assigns to that.
    """

    kind: str
    qualname: str
    module: str
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    outer_names: set[str] = field(default_factory=set)
    global_names: set[str] = field(default_factory=set)
    function: FunctionInfo | None = None
    stored: dict[str, tuple[ClassInfo, str]] = field(default_factory=dict)
    members: dict[str, list[Binding]] = field(default_factory=dict)

    def find(self, name: str) -> Scope | None:
        """The scope that binds `name` as Python looks it up from here; class bodies are skipped from inside."""
        if name in self.global_names:
            module = self.module_scope()
            return module if name in module.bindings else None
        scope: Scope | None = self
        while scope is not None:
            skip = scope is not self and scope.kind == "class"
            if not skip and name in scope.bindings and name not in scope.outer_names:
                return scope
            scope = scope.parent
        return None

    def module_scope(self) -> Scope:
        """The outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


def _is_bare_constant(node: ast.stmt) -> bool:
    """A docstring or an ellipsis."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@dataclass(slots=True, eq=False)
class FunctionInfo:
    """A function, method, lambda, or the module body itself.

    `calls`, `returns`, `yields` and `assigns` (attribute targets with their value) and `tries` are those of this body,
    nested functions left out.
    """

    node: FunctionNode
    qualname: str
    scope: Scope
    cls: ClassInfo | None
    module: ModuleIndex
    calls: list[ast.Call] = field(default_factory=list)
    returns: list[ast.Return] = field(default_factory=list)
    yields: list[ast.Yield | ast.YieldFrom] = field(default_factory=list)
    assigns: list[tuple[ast.Attribute, ast.expr]] = field(default_factory=list)
    tries: list[ast.Try] = field(default_factory=list)
    has_handlers: bool = False

    @property
    def parameters(self) -> list[ast.arg]:
        """Positional parameters in order, then keyword-only ones; without `*args` and `**kwargs`."""
        if isinstance(self.node, ast.Module):
            return []
        args = self.node.args
        return [*args.posonlyargs, *args.args, *args.kwonlyargs]

    @property
    def decorators(self) -> list[ast.expr]:
        """The decorators, outermost first."""
        return self.node.decorator_list if isinstance(self.node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []

    @property
    def is_abstract(self) -> bool:
        """Whether it is a method that another class is to fill in: marked so, or nothing but `NotImplementedError`."""
        if self.cls is None or not isinstance(self.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        body = [node for node in self.node.body if not _is_bare_constant(node) and not isinstance(node, ast.Pass)]
        if not body:
            return any(ast.unparse(one).rpartition(".")[2] == "abstractmethod" for one in self.node.decorator_list)
        raised = body[0].exc if isinstance(body[0], ast.Raise) else None
        made = raised.func if isinstance(raised, ast.Call) else raised
        return isinstance(made, ast.Name) and made.id == "NotImplementedError"

    @property
    def self_name(self) -> str:
        """The name of the first parameter of a method, "" for anything else."""
        if self.cls is None or isinstance(self.node, (ast.Module, ast.Lambda)):
            return ""
        args = [*self.node.args.posonlyargs, *self.node.args.args]
        return args[0].arg if args else ""


@dataclass(slots=True, eq=False)
class ClassInfo:
    """A class: its base expressions, its own methods, and what any of its methods assigns to `self.<name>`.

    What is assigned to `self.<name>.<attribute>` is an attribute of that dotted name. `members` are the things put into
    the container that an attribute holds.
    """

    node: ast.ClassDef
    qualname: str
    scope: Scope
    module: ModuleIndex
    methods: dict[str, FunctionInfo] = field(default_factory=dict)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)
    members: dict[str, list[Binding]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Unique name of the class: file and qualified name."""
        return f"{self.module.path}:{self.qualname}"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The name or attribute that an expression's value is bound to directly."""

    scope: Scope
    name: str = ""
    cls: ClassInfo | None = None


@dataclass(slots=True, eq=False)
class ModuleIndex:
    """Everything gathered from one module in one pass.

    `targets` maps `id` of an expression to what it is bound to; `callers` maps the last part of a callee's name to
    the calls of it, `given` a name to the calls that have it as an argument; `stores` maps an attribute's name to the
    objects other than `self` to which it is assigned.
    """

    path: str
    name: str
    is_package: bool
    tree: ast.Module
    scope: Scope
    body: FunctionInfo | None = None
    functions: list[FunctionInfo] = field(default_factory=list)
    classes: list[ClassInfo] = field(default_factory=list)
    targets: dict[int, Target] = field(default_factory=dict)
    callers: dict[str, list[tuple[ast.Call, FunctionInfo]]] = field(default_factory=dict)
    stores: dict[str, list[tuple[ast.expr, Binding]]] = field(default_factory=dict)
    given: dict[str, list[tuple[ast.Call, FunctionInfo]]] = field(default_factory=dict)
    star_imports: list[str] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)

    def sole_owner(self, attribute: str) -> ClassInfo | None:
        """The only class of the module whose methods assign `self.<attribute>`."""
        owners = [cls for cls in self.classes if attribute in cls.attributes]
        return owners[0] if len(owners) == 1 else None
