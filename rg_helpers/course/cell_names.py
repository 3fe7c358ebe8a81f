"""Which names a notebook's code cells read and bind: what depends on what, without running it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

GIVEN = frozenset(dir(builtins)) | {"display", "get_ipython", "__name__"}


@dataclass(frozen=True)
class CellNames:
    """The top-level names of one cell."""

    read: frozenset[str]  # what earlier cells must have bound
    later: frozenset[str]  # what functions read, so that any cell before their call may bind it
    bound: frozenset[str]  # what later cells find
    changed: frozenset[str]  # objects changed in place: x[i] = ..., x.a = ..., x.append(...)
    imported: frozenset[str]  # of the bound names, those of imports


def cell_names(source: str) -> CellNames:
    """Return the names of one cell; raises `SyntaxError` for a cell that is not Python."""
    reader = _Reader()
    tree = ast.parse(source)
    for statement in tree.body:
        reader.visit(statement)
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    return CellNames(
        read=frozenset(reader.read - GIVEN),
        later=frozenset(reader.later - reader.bound - reader.read - GIVEN),
        bound=frozenset(reader.bound),
        changed=frozenset(reader.changed - imported),
        imported=frozenset(reader.bound & imported),
    )


def cells_needed(cells: Mapping[int, CellNames], wanted: Iterable[int]) -> list[int]:
    """Return the cells that must run, in order, so that the `wanted` cells can.

    A cell is needed if it binds, or changes in place, a name that a later needed cell reads.
    What a function changes in its arguments is not seen, and a call such as `plots.show(...)`
    changes nothing: `plots` is imported.
    """
    needed, open_names, wanted = [], set(), set(wanted)
    imported = {name for names in cells.values() for name in names.imported}
    for place in sorted(cells, reverse=True):
        names = cells[place]
        if place in wanted or (names.bound | (names.changed - imported)) & open_names:
            needed.append(place)
            open_names = (open_names - names.bound) | names.read | names.later
    return needed[::-1]


def readers(cells: Mapping[int, CellNames], places: Sequence[int]) -> dict[int, list[str]]:
    """Return, for each of `places`, the names it binds that another cell then reads."""
    owner: dict[str, int] = {}
    found: dict[int, set[str]] = {place: set() for place in places}
    waiting: set[str] = set()  # read by functions, not bound so far
    for place in sorted(cells):
        names = cells[place]
        for name in names.read | names.later:
            if owner.get(name) in found:
                found[owner[name]].add(name)
            elif name not in owner:
                waiting.add(name)
        owner.update(dict.fromkeys(names.bound, place))
    for name in waiting & owner.keys():
        if owner[name] in found:
            found[owner[name]].add(name)
    return {place: sorted(names) for place, names in found.items()}


def unbound_names(cells: Mapping[int, CellNames]) -> dict[int, list[str]]:
    """Return the cells that read names which no cell binds in time, with these names."""
    bound: set[str] = set()
    anywhere = {name for names in cells.values() for name in names.bound}
    found = {}
    for place in sorted(cells):
        names = cells[place]
        if missing := (names.read - bound) | (names.later - anywhere):
            found[place] = sorted(missing)
        bound |= names.bound
    return found


class _Reader(ast.NodeVisitor):
    """Walk statements in the order of their execution."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.later: set[str] = set()  # read when a function is called, after the cell has run
        self.bound: set[str] = set()
        self.changed: set[str] = set()
        self.hidden: list[set[str]] = []  # local names of functions and comprehensions
        self.in_function = 0

    def visit_Name(self, node: ast.Name) -> None:
        if any(node.id in names for names in self.hidden):
            return
        if not isinstance(node.ctx, ast.Load):
            if not self.in_function:
                self.bound.add(node.id)
        elif self.in_function:
            self.later.add(node.id)
        elif node.id not in self.bound:
            self.read.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._change(target)
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        self._change(node.target)
        if isinstance(node.target, ast.Name):
            self.visit(ast.Name(node.target.id, ast.Load()))
        self.visit(node.target)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            self._change(node.value.func)
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        for statement in [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_alias(self, node: ast.alias) -> None:
        if not self.in_function:
            self.bound.add((node.asname or node.name).split(".")[0])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        self._within({node.name} if node.name else set(), node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self._within(_stored(node.body), node.body)
        self._define(node.name)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in [*node.decorator_list, *_defaults(node.args)]:
            self.visit(part)
        self._define(node.name)
        self._function(node.args, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in _defaults(node.args):
            self.visit(part)
        self._function(node.args, [node.body])

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, [node.key, node.value])

    def _comprehension(self, node: ast.expr, made: list[ast.expr]) -> None:
        targets = _stored([generator.target for generator in node.generators])
        self.visit(node.generators[0].iter)
        parts: list[ast.AST] = [generator.iter for generator in node.generators[1:]]
        parts += [condition for generator in node.generators for condition in generator.ifs]
        self._within(targets, [*parts, *made])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> None:
        given = {node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg)}
        self.in_function += 1
        self._within(given | _stored(body), body)
        self.in_function -= 1

    def _within(self, names: set[str], parts: Iterable[ast.AST]) -> None:
        self.hidden.append(names)
        for part in parts:
            self.visit(part)
        self.hidden.pop()

    def _define(self, name: str) -> None:
        if not self.in_function and not self.hidden:
            self.bound.add(name)

    def _change(self, node: ast.AST) -> None:
        """Note the object that `x[...]`, `x.a` or the tuple of such targets belongs to."""
        if isinstance(node, (ast.Tuple, ast.List)):
            for part in node.elts:
                self._change(part)
        root = node
        while isinstance(root, (ast.Subscript, ast.Attribute)):
            root = root.value
        if root is not node and isinstance(root, ast.Name) and not self.in_function:
            self.changed.add(root.id)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]


def _stored(parts: Iterable[ast.AST]) -> set[str]:
    """Return the names that these statements or targets assign, define or import."""
    stored = set()
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                stored.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                stored.add(node.name)
            elif isinstance(node, ast.alias):
                stored.add((node.asname or node.name).split(".")[0])
    return stored
