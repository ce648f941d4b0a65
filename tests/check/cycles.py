"""Small projects of random modules that import, call and hold one another in circles."""

from __future__ import annotations

import random

_OPENED = {
    "psycopg2": ("psycopg2.connect('')",),
    "psycopg": ("psycopg.connect('')", "psycopg.connect('', autocommit=True)"),
    "sqlite3": ("sqlite3.connect('a.db')", "sqlite3.connect('a.db', isolation_level=None)"),
}
_TYPES = {
    "psycopg2": "psycopg2.extensions.connection",
    "psycopg": "psycopg.Connection",
    "sqlite3": "sqlite3.Connection",
}
_PARAMETERS = ("conn", "cur", "a", "db", "connection")
_KEPT = ("self", "self.conn", "self.db", "self.cur")


class Project:
    """Two or three modules; the same seed gives the same text."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.modules = [f"m{n}" for n in range(chance.randint(2, 3))]
        self.drivers = {
            module: chance.choice(("psycopg2", "psycopg2", "psycopg", "sqlite3")) for module in self.modules
        }
        self.functions = [(m, f"f{m[1]}{n}") for m in self.modules for n in range(chance.randint(2, 3))]
        self.classes = [(m, f"C{m[1]}{n}") for m in self.modules for n in range(chance.randint(1, 2))]
        self.shared = [(m, f"g{m[1]}") for m in self.modules]
        self.arity = {name: chance.randint(0, 2) for _, name in self.functions}
        self.module, self.plainly = "", False
        self.files = {f"{module}.py": self._text(module) for module in self.modules}

    def _text(self, module: str) -> str:
        self.module, self.plainly = module, self.chance.random() < 0.4
        lines = ["import contextlib", f"import {self.drivers[module]}"]
        for other in self.modules:
            names = [n for m, n in (*self.functions, *self.classes, *self.shared) if m == other]
            said = self.chance.choice(("*", ", ".join(names)))
            if other != module:
                lines.append(f"from {other} import {said}" if self.plainly else f"import {other}")
        lines.append(f"g{module[1]} = {self._value([])}")
        parts = [self._function(n) for m, n in self.functions if m == module]
        parts += [self._class(n) for m, n in self.classes if m == module]
        self.chance.shuffle(parts)
        return "\n".join([*lines, *(line for part in parts for line in part)]) + "\n"

    def _named(self, choices: list[tuple[str, str]]) -> tuple[str, str]:
        module, name = self.chance.choice(choices)
        return name, name if self.plainly or module == self.module else f"{module}.{name}"

    def _value(self, names: list[str], depth: int = 0) -> str:
        kind = self.chance.randrange(13 if depth < 3 else 3)
        if kind == 0 or (kind in (1, 2, 3) and not names):
            return self.chance.choice(_OPENED[self.drivers[self.module]])
        if kind in (1, 2):
            return self.chance.choice(names)
        if kind == 3:
            return f"{self.chance.choice(names)}.cursor()"
        if kind in (4, 5, 6):
            name, shown = self._named(self.functions)
            return f"{shown}({', '.join(self._value(names, depth + 1) for _ in range(self.arity[name]))})"
        if kind in (7, 8):
            way = self.chance.choice(("", ".get()", ".me()", ".conn", ".live", ".me().conn"))
            return f"{self._named(self.classes)[1]}({self._value(names, depth + 1)}){way}"
        if kind == 9:
            return self._named(self.shared)[1]
        first, second = self._value(names, depth + 1), self._value(names, depth + 1)
        return {10: f"({first} or {second})", 11: f"[{first}, {second}]", 12: f"{first}[0]"}[kind]

    def _step(self, names: list[str]) -> str:
        if not names or self.chance.random() < 0.4:
            names.append(self.chance.choice(("v", "w", "conn", "cur")))
            return f"{names[-1]} = {self._value(names[:-1])}"
        name = self.chance.choice(names)
        ways = (".execute('INSERT INTO t VALUES (1)')", ".commit()", ".rollback()", ".close()", ".autocommit = True")
        said = f"{name}{self.chance.choice(ways)}"
        return self.chance.choice((said, said, self._value(names), f"{name} = [{name}]"))

    def _body(self, names: list[str], indent: str) -> list[str]:
        lines = [indent + self._step(names)]
        if self.chance.random() < 0.7:
            error = self.chance.choice(("Exception", f"{self.drivers[self.module]}.Error", "ValueError"))
            ends = self.chance.choice(("pass", "raise", f"{names[-1]}.rollback()" if names else "pass"))
            tried = [self._step(names), f"{names[-1] if names else 'x'}.execute('DELETE FROM t')"]
            lines += [f"{indent}try:", *(f"{indent}    {step}" for step in tried)]
            lines += [f"{indent}except {error}:", f"{indent}    {ends}", indent + self._step(names)]
        return [*lines, f"{indent}return {self._value(names)}"]

    def _typed(self, name: str) -> str:
        kind = self.chance.choice((_TYPES[self.drivers[self.module]], self._named(self.classes)[1]))
        return f"{name}: '{kind}'" if self.chance.random() < 0.3 else name

    def _function(self, name: str) -> list[str]:
        names = self.chance.sample(_PARAMETERS, self.arity[name])
        lines = [f"def {name}({', '.join(self._typed(n) for n in names)}):"]
        kind = self.chance.random()
        if kind < 0.3:
            kept = f"g{self.module[1]}"
            lines += [f"    global {kept}", f"    {kept} = {self._value(names)}"]
            names.append(kept)
        if kind < 0.85:
            return lines + self._body(names, "    ")
        ends = self.chance.choice(("pass", "raise", f"{names[-1]}.rollback()" if names else "pass"))
        lines.insert(0, "@contextlib.contextmanager")
        return [
            *lines,
            "    try:",
            f"        yield {self._value(names, 1)}",
            "    except Exception:",
            f"        {ends}",
        ]

    def _class(self, name: str) -> list[str]:
        base = self._named(self.classes)[1]
        first = self.chance.choice(_PARAMETERS)
        lines = [f"class {name}({base if base != name and self.chance.random() < 0.4 else ''}):"]
        lines.append(f"    def __init__(self, {self._typed(first)}):")
        kept = self.chance.sample(_KEPT[1:], 2)
        lines += [f"        {attribute} = {self._value([first, 'self'], 1)}" for attribute in kept]
        for method in self.chance.sample(("get", "me", "live", "__enter__", "__getitem__", "cursor", "rollback"), 4):
            lines += ["    @property"] if method == "live" else []
            lines.append(f"    def {method}(self{', key' if method == '__getitem__' else ''}):")
            lines += ["        return self"] if method == "me" else self._body(list(_KEPT), "        ")
        return lines
