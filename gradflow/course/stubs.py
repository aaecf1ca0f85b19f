"""What the student finds in place of a solution: the names to define, set to `...`.

Found in the solution's syntax tree, so that the source holds every exercise once.
"""

import ast

ANSWER = "# your answer"


def stub(solution: str) -> str:
    """Return the stub of a solution: a function keeps its signature, a name becomes `...`.

    Raises ValueError for a solution that defines nothing.

    >>> print(stub("half = 1 / 2"))
    # your answer
    half = ...
    """
    parts = [text for node in ast.parse(solution).body if (text := _stub_of(node))]
    if not parts:
        raise ValueError(f"solution {solution[:40]!r}…: got no name that is defined, expected one or more")
    return "\n".join([ANSWER, *dict.fromkeys(parts)])


def _stub_of(node: ast.stmt) -> str:
    """Return the stub of one statement, empty where it defines no answer."""
    if isinstance(node, ast.FunctionDef):
        empty = ast.FunctionDef(
            name=node.name,
            args=node.args,
            body=[ast.Expr(ast.Constant(...))],  # its docstring may tell the solution
            decorator_list=[],
            returns=node.returns,
            lineno=1,
            col_offset=0,
        )
        return ast.unparse(ast.fix_missing_locations(empty))
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return "\n".join(f"{name} = ..." for name in names)


def blank_prediction(source: str) -> str:
    """Return a cell in which every `course.predict(value, …)` asks for None; all else stays as it is written.

    Raises ValueError for a cell without a prediction.

    >>> blank_prediction('guess = course.predict(3, what="spikes")  # how many?')
    'guess = course.predict(None, what="spikes")  # how many?'
    """
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    guesses = [call.args[0] for call in calls if ast.unparse(call.func) == "course.predict" and call.args]
    if not guesses:
        raise ValueError(f"prediction {source[:40]!r}…: got no call of course.predict, expected one")
    lines = [line.encode() for line in source.splitlines()]  # columns of the tree are bytes
    for guess in sorted(guesses, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        first, last = guess.lineno - 1, (guess.end_lineno or guess.lineno) - 1
        rest = lines[last][guess.end_col_offset :]
        lines[first : last + 1] = [lines[first][: guess.col_offset] + b"None" + rest]
    return b"\n".join(lines).decode()
