"""Which colours a notebook's code names, read from the code: raw ones, and those of one figure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.colors import is_color_like

from rg_helpers.plots.style import FAMILY_STYLES, PALETTE

# Strings that mean a colour wherever they stand; other names, such as "gold", are words as well.
SURELY = re.compile(r"#(?:[0-9a-fA-F]{3,4}){1,2}|(?:tab|xkcd):.+|C\d")
COLOUR_KEYWORD = re.compile(r"colou?rs?$|^(?:c|fc|ec|mfc|mec)$")
FORMAT = re.compile(r"(?=.)(?:[bgrcmykw]|C\d)?[.,ov^<>1-4sp*hH+xXDdP|_]?(?:--|-\.|-|:)?")
COLOURED_FORMAT = re.compile(r"[bgrcmykw]|C\d")
DRAWING = {"plot", "errorbar", "step", "semilogx", "semilogy", "loglog"}
NAMES_BY_COLOUR = {colour: name for name, colour in PALETTE.items()}
FAMILIES = frozenset(NAMES_BY_COLOUR[style.colour] for style in FAMILY_STYLES.values())


@dataclass(frozen=True)
class Table:
    """A list or mapping that gives several things a colour each: names of the palette, and what
    else tells its rows apart: markers, dashes, or format strings such as "o--"."""

    names: tuple[str, ...]
    signs: tuple[str, ...]


def raw_colours(source: str) -> list[str]:
    """Return the colours that a cell names without the palette, as they are written."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and SURELY.fullmatch(str(node.value)):
            found[node.value] = None
        for words in _given_as_colour(node):
            found.update(dict.fromkeys(w for w in words if is_color_like(w) and w != "none"))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in DRAWING:
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            formats = (t for t in texts if isinstance(t, str) and FORMAT.fullmatch(t))
            found.update(dict.fromkeys(t for t in formats if COLOURED_FORMAT.match(t)))
    return list(found)


def colour_tables(source: str) -> dict[str, Table]:
    """Return the outermost literals of a cell that hold two or more names of the palette.

    The key is the variable that the literal is assigned to, also inside a call such as
    `dict(zip(names, literal))`, or a number for a literal without one.
    """
    formats = _format_lists(source)
    tables: dict[str, Table] = {}
    for name, literal in _literals(ast.parse(source)):
        rows = literal.values if isinstance(literal, ast.Dict) else literal.elts
        names = tuple(word for row in rows for word in _strings(row) if word in PALETTE)
        if len(set(names)) < 2:
            continue
        signs = tuple(_signs(row) for row in rows)
        if not any(signs):  # a list of colours alone has its formats beside it
            signs = next((other for other in formats if len(other) == len(names)), ())
        tables[name or str(len(tables))] = Table(names, signs)
    return tables


def figure_colours(sources: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    """Return, for each code cell that names several colours of the palette, their names.

    What stands in one cell stands in one figure: names in `PALETTE[...]`, tables written there,
    tables of other cells that it reads, and the families' colours.
    """
    everywhere: dict[str, Table] = {}
    found = {}
    for place, source in sources.items():
        here = colour_tables(source)
        everywhere |= {name: table for name, table in here.items() if name.isidentifier()}
        read = {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
        used = [table for name, table in everywhere.items() if name in read]
        names = {name for table in (*here.values(), *used) for name in table.names}
        for node in ast.walk(ast.parse(source)):
            if _is_palette(node):
                names |= {word for word in _strings(node.slice) if word in PALETTE}
            if getattr(node, "attr", getattr(node, "id", "")) == "FAMILY_STYLES":
                names |= FAMILIES
        if len(names) > 1:
            found[place] = tuple(sorted(names))
    return found


def _given_as_colour(node: ast.AST) -> Iterator[list[str]]:
    """Yield the strings that a keyword or an entry such as {"color": ...} gives as a colour."""
    if isinstance(node, ast.keyword) and COLOUR_KEYWORD.search(node.arg or ""):
        yield list(_plain_strings(node.value))
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and COLOUR_KEYWORD.search(str(key.value)):
                yield list(_plain_strings(value))


def _plain_strings(node: ast.AST) -> Iterator[str]:
    """Yield the strings that an expression may be, without keys, arguments and conditions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from [*_plain_strings(node.body), *_plain_strings(node.orelse)]
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        yield from _plain_strings(node.elt)
    elif isinstance(node, (ast.List, ast.Tuple)):
        yield from (word for part in node.elts for word in _plain_strings(part))
    elif isinstance(node, ast.BoolOp):
        yield from (word for part in node.values for word in _plain_strings(part))


def _is_palette(node: ast.AST) -> bool:
    holder = getattr(node, "value", None)
    name = getattr(holder, "attr", getattr(holder, "id", ""))
    return isinstance(node, ast.Subscript) and name == "PALETTE"


def _literals(tree: ast.AST) -> Iterator[tuple[str, ast.Dict | ast.List | ast.Tuple]]:
    """Yield the outermost dict, list and tuple literals, with the variable they are assigned to."""

    def outermost(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        loaded = not isinstance(getattr(node, "ctx", None), ast.Store)
        if isinstance(node, (ast.Dict, ast.List, ast.Tuple)) and loaded:
            yield name, node
            return
        for child in ast.iter_child_nodes(node):
            yield from outermost(child, name)

    yield from outermost(tree, "")


def _strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _signs(row: ast.AST) -> str:
    """Return what in a row of a table is a marker, a format or a pattern of dashes, as text."""
    if not isinstance(row, ast.Tuple):
        return ""
    strings = [w for part in row.elts for w in _strings(part) if FORMAT.fullmatch(w)]
    dashes = [ast.unparse(part) for part in row.elts if isinstance(part, ast.Tuple)]
    return " ".join(strings + dashes)


def _format_lists(source: str) -> list[tuple[str, ...]]:
    """Return the literals of a cell that hold nothing but format strings."""
    lists: list[tuple[str, ...]] = []
    for _, literal in _literals(ast.parse(source)):
        parts: Sequence[ast.AST] = getattr(literal, "elts", [])
        words = [getattr(part, "value", None) for part in parts]
        if words and all(isinstance(w, str) and FORMAT.fullmatch(w) for w in words):
            lists.append(tuple(words))
    return lists
