"""The import direction of docs/ARCHITECTURE: a module imports only from rows above its own.

Imports under ``if TYPE_CHECKING`` are no imports; those inside functions are.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "reanalysis"

# Modules of one row may import each other; cycles among them are excluded below.
ROWS = [
    # numbers and words
    [
        "atomic",
        "memory",
        "nearest",
        "progress",
        "sampler_settings",
        "scratch",
        "threads",
        "versions",
        "effect_sizes",
        "priors",
        "marginal",
        "selection",
    ],
    # records
    ["tables", "roles", "row_checks", "reading", "datapackage", "dataset", "results"],
    ["spec_values", "spec_faults", "spec", "spec_file"],
    ["locate"],
    # where data meet models
    ["design", "moderators", "audit", "selection_columns"],
    ["plan", "starter"],
    # engines
    ["frequentist", "exact", "builders", "summaries"],
    ["nuts"],
    # analysis
    ["spread"],
    [
        "comparison",
        "checks",
        "claims",
        "moderation",
        "multiverse",
        "calibration",
        "ladder",
        "sensitivity",
        "sampled_sensitivity",
    ],
    ["robustness", "predictive"],
    ["further"],
    ["analysis"],
    ["source_study"],
    ["document"],
    # pictures and the report
    ["wording", "plots"],
    ["report"],
    ["archive", "lock", "saved_fits", "output", "verification"],
    ["runner"],
    ["terminal"],
    ["cli"],
    ["__init__", "__main__"],
]
ROW = {name: number for number, names in enumerate(ROWS) for name in names}

# Which files may import a library that is slow or unsafe to load.
RESERVED = {
    "pymc": ("builders", "nuts"),
    "pytensor": ("builders", "nuts"),
    "nutpie": ("nuts",),
    "arviz": ("summaries",),
    "arviz_base": ("summaries",),
    "arviz_stats": ("summaries",),
    "arviz_plots": ("plots",),
    "matplotlib": ("plots", "report"),
    "jinja2": ("report",),
    "click": ("cli", "terminal"),
    "rich": ("terminal",),
    "formulaic": (),
    "pickle": (),
    "yaml": (),
}


def unit(path: Path) -> str:
    """Return the module or folder of the package that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@lru_cache
def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "bundled" not in path.parts]


@lru_cache
def imports(path: Path) -> list[tuple[int, str, bool]]:
    """Return line, dotted name and whether it is at module level, of every import that runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[int, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield child.lineno, alias.name, top
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: a relative import"
                for alias in child.names:
                    yield child.lineno, f"{child.module}.{alias.name}", top
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for part in child.orelse:
                    yield from visit(part, top)
            else:
                inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from visit(child, top and not inner)

    return list(visit(tree, True))


def edges() -> Iterator[tuple[Path, int, str]]:
    for path in sources():
        for line, name, _ in imports(path):
            parts = name.split(".")
            if parts[0] == "reanalysis" and len(parts) > 1:
                yield path, line, parts[1]


def test_every_module_has_its_row() -> None:
    assert {unit(path) for path in sources()} <= set(ROW)


def test_a_module_imports_only_from_rows_above_its_own() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {target}"
        for path, line, target in edges()
        if ROW.get(target, ROW["__init__"]) > ROW[unit(path)]
    ]
    assert wrong == []


def test_modules_of_one_row_do_not_import_each_other_in_a_circle() -> None:
    targets: dict[str, set[str]] = {}
    for path, _, target in edges():
        if target != unit(path):
            targets.setdefault(unit(path), set()).add(target)
    done: set[str] = set()
    while ready := [name for name in ROW if name not in done and targets.get(name, set()) <= done]:
        done.update(ready)
    assert set(ROW) - done == set()


def test_builders_share_no_likelihood_code_with_the_exact_engine() -> None:
    shared = [
        str(path)
        for path, _, target in edges()
        if unit(path) == "builders" and target in ("marginal", "exact", "frequentist")
    ]
    assert shared == []


@pytest.mark.parametrize("library", RESERVED)
def test_only_the_files_named_for_it_import(library: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sources()
        for line, name, _ in imports(path)
        if name.split(".")[0] == library and unit(path) not in RESERVED[library]
    ]
    assert wrong == []


def test_scipy_stats_is_never_imported_with_a_module() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sources()
        for line, name, top in imports(path)
        if top and name.startswith("scipy.stats")
    ]
    assert wrong == []


def test_no_submodule_can_take_the_place_of_a_public_name() -> None:
    import reanalysis

    assert set(reanalysis.__all__).isdisjoint(ROW)
    assert all(hasattr(reanalysis, name) for name in reanalysis.__all__)
    assert set(reanalysis.__all__) <= set(dir(reanalysis))


def test_importing_the_package_imports_nothing_else_of_weight() -> None:
    code = "import sys, reanalysis; print([m for m in sys.modules if m in sys.argv[1:]])"
    heavy = ["numpy", "pandas", "pydantic", "click", "pymc", "arviz", "matplotlib"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import reanalysis

    with pytest.raises(AttributeError, match="no attribute 'fit_remel'"):
        reanalysis.fit_remel  # type: ignore[attr-defined]  # noqa: B018
