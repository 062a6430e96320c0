"""What code reads, from its instructions: globals, imports, and names that attributes may have."""

import dis
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from types import CodeType

__all__ = ["Reads", "all_codes", "code_text", "reads_of", "words_in"]

_MOST_CHARACTERS = 1000  # of a string in which names of attributes may stand
_WORDS = re.compile(r"[^\W\d]\w*")

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
_OPERATORS = {
    **{"+": "add", "-": "sub", "*": "mul", "/": "truediv", "**": "pow", "@": "matmul"},
    **{"//": "floordiv", "%": "mod", "&": "and", "|": "or", "^": "xor", "<<": "lshift"},
    **{">>": "rshift", "<": "lt", "<=": "le", "==": "eq", "!=": "ne", ">": "gt", ">=": "ge"},
}
_OTHER_OPERATORS = {
    **{"UNARY_NEGATIVE": "__neg__", "UNARY_INVERT": "__invert__", "UNARY_POSITIVE": "__pos__"},
    **{"BINARY_SUBSCR": "__getitem__", "STORE_SUBSCR": "__setitem__"},
}


@dataclass
class Reads:
    """What code may read, that of the functions inside of it included.

    Args:
        variables: Globals, in the order of the code.
        imports: The modules of import statements, each with its level: 1 is the code's own package.
        names: Those of attributes; also each word of a constant, as it may name one.
        operators: The methods of operators, such as `__add__`.
        may_miss: Whether the code goes on where there is no such attribute.
    """

    variables: dict[str, None] = field(default_factory=dict)
    imports: list[tuple[str, int]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    may_miss: bool = False


def reads_of(code: CodeType, but: Collection[str] = ()) -> Reads:
    """Return what `code` reads, without the names in `but`."""
    reads = Reads()
    for each in all_codes(code):
        reads.may_miss |= bool(each.co_exceptiontable)
        before: list[dis.Instruction] = []
        for instruction in dis.get_instructions(each):
            if instruction.opname in _GLOBALS:
                if instruction.argval not in but:
                    reads.variables[instruction.argval] = None
            elif instruction.opname == "IMPORT_NAME":
                reads.imports.append((instruction.argval, before[0].argval))
            elif instruction.argval not in but:
                _note(instruction, reads)
            if instruction.opname != "EXTENDED_ARG":
                before = [*before[-1:], instruction]
    return reads


def _note(instruction: dis.Instruction, reads: Reads) -> None:
    if instruction.opcode in dis.hasname:
        reads.names.add(instruction.argval)
    elif instruction.opcode in dis.hasconst:
        reads.names |= words_in(instruction.argval)
    elif instruction.opname == "MATCH_CLASS":
        reads.names.add("isinstance")
    elif instruction.opname in _OTHER_OPERATORS:
        reads.operators.add(_OTHER_OPERATORS[instruction.opname])
    elif (symbol := instruction.argrepr.removesuffix("=")) in _OPERATORS:
        for kind in ("", "r", "i") if symbol != instruction.argrepr else ("", "r"):
            reads.operators.add(f"__{kind}{_OPERATORS[symbol]}__")
    elif instruction.argrepr in _OPERATORS:
        reads.operators.add(f"__{_OPERATORS[instruction.argrepr]}__")


def words_in(value: object) -> set[str]:
    """Return the names that a value may give, as that of an attribute.

    >>> sorted(words_in(("a.b", 1, ("c",))))
    ['a', 'b', 'c']
    """
    if isinstance(value, str):
        return set(_WORDS.findall(value[:_MOST_CHARACTERS]))
    if isinstance(value, tuple | frozenset):
        return set().union(*map(words_in, value))
    return set()


def all_codes(code: CodeType) -> list[CodeType]:
    """Return code with that of all functions inside of it."""
    todo = [code]
    for each in todo:
        todo += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    return todo


def code_text(code: CodeType) -> str:
    """Return what code does, whatever the file that it stands in."""
    constants = [
        code_text(constant)
        if isinstance(constant, CodeType)
        else repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
        for constant in code.co_consts
    ]
    variables = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return f"{code.co_code.hex()} {constants} {variables}"
