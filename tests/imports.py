"""Import every module of a package first, its statements of import alone.

Run as a script with the folder that holds the package, and its name; prints every module that can be imported
first, and stops with the error where one cannot. Python's own machinery imports them, but of a module only
what decides about circles is executed: imports from the package, in their order, and every other statement
that binds a name at the top level, as that name bound to None. So nothing is compiled and no other library is
loaded, and all modules can be tried in every order of arrival within a second.
"""

import ast
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def kept(body: Iterable[ast.stmt], package: str) -> Iterator[ast.stmt]:
    """Yield the statements of a module that are executed; those for type checkers alone never are."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            if (origin or "").partition(".")[0] == package:
                yield node
            else:
                yield from bound(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.If):
            if ast.unparse(node.test) != "TYPE_CHECKING":
                yield from kept(node.body, package)
            yield from kept(node.orelse, package)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from bound([node.name])
        elif isinstance(node, ast.Try | ast.With | ast.For | ast.While):
            yield from kept(node.body, package)
        else:
            yield from bound(
                name.id
                for name in ast.walk(node)
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            )


def bound(names: Iterable[str]) -> Iterator[ast.stmt]:
    """Yield name = None for each; not for what Python itself would call."""
    for name in names:
        if not name.startswith("__"):
            yield from ast.parse(f"{name} = None").body


class Skeletons(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find and load the modules of one package, executing what `kept` yields."""

    def __init__(self, root: Path, package: str) -> None:
        self.codes, self.packages = {}, set()
        for path in sorted((root / package).rglob("*.py")):
            if not path.stem.isidentifier():
                continue  # the source of a notebook
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
                self.packages.add(".".join(parts))
            tree = ast.Module(list(kept(ast.parse(path.read_text(encoding="utf-8")).body, package)), [])
            self.codes[".".join(parts)] = compile(tree, str(path), "exec")

    def find_spec(self, name, path, target=None):
        """Return the spec of a module of the package."""
        if name not in self.codes:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name in self.packages)

    def exec_module(self, module):
        """Execute a module's imports."""
        exec(self.codes[module.__name__], module.__dict__)


def main(root: str, package: str) -> None:
    """Import every module first and say its name."""
    finder = Skeletons(Path(root), package)
    sys.meta_path.insert(0, finder)
    for name in finder.codes:
        for loaded in [known for known in sys.modules if known.partition(".")[0] == package]:
            del sys.modules[loaded]
        importlib.import_module(name)
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
