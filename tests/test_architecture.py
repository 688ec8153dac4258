"""Architecture: layers, homes of libraries, thin package roots, file sizes, top-level entries."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.source import parsed

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bayesmix"

# From the ground up. A room (a module, or a folder of modules) imports rooms that stand above it in
# this list, and
# itself; rooms in one line never meet. That makes import cycles impossible between rooms.
STEPS = (
    {"errors"},  # floor 0: pure functions and the input nouns
    {"runtime", "validate", "deprecation", "text", "summary"},
    {"design"},
    {"runs", "laws", "simplex"},  # 1: data, formulas, and an old name of laws.simplex
    {"model"},  # 2: the NumPyro program, and its written form
    {"cards"},
    {"posterior"},  # 3: draws, and what follows from them
    {"inference"},  # 4: how they are made
    {"evaluation"},
    {"decision"},  # 5
    {"acquisition"},  # 6
    {"campaign"},
    {"plots", "pocket"},  # 7: the edges
    {"report"},
    {"cli"},
)
STEP_OF = {room: step for step, rooms in enumerate(STEPS) for room in rooms}

HOMES = {
    "pandas": {"runs"},
    "pyarrow": {"runs"},
    "arviz": {"posterior", "evaluation"},
    "arviz_base": {"posterior", "evaluation"},
    "arviz_stats": {"posterior", "evaluation"},
    "arviz_plots": {"plots"},
    "xarray": {"posterior"},
    "netCDF4": {"posterior"},
    "matplotlib": {"plots"},
    "mpltern": {"plots"},
    "jinja2": {"report"},
    "optax": {"pocket"},
    "PIL": {"pocket"},
    "fontTools": {"pocket"},
    "typer": {"cli"},
}
STATEMENTS = {"sample", "plate", "plate_stack", "factor", "deterministic", "param"}

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".python-version",
    "LICENSE",
    "README.md",
    "bayesmix",
    "docs",
    "models",
    "notebooks",
    "pyproject.toml",
    "tests",
}
LONG, TOO_LONG, SHARE_LONG = 400, 600, 0.1  # lines, lines, share of files that may be long

SETUP_COMMAND = "uv run bayesmix demo"
TEST_COMMAND = "uv run pytest -n 2"


class Import(NamedTuple):
    """One imported module, and the name taken from it, if any."""

    module: str
    name: str | None
    line: int


def imports(tree: ast.AST) -> Iterator[Import]:
    """All imports in a file: top level, inside functions, for annotations, by `importlib`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, None, node.lineno) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from (
                    Import("." * level + (module or ""), alias.name, node.lineno) for alias in names
                )
            case ast.Call(
                func=ast.Attribute(attr="import_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield Import(module, None, node.lineno)


def room_of(file: Path) -> str:
    """`model` for bayesmix/model/model.py, `laws` for bayesmix/laws/joint.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_file(module: str) -> Path | None:
    """The file of a module of the package, None when it is a folder or does not exist."""
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return file if file.is_file() else None


def defined(tree: ast.Module) -> set[str]:
    """Names a module itself defines at its top."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.TypeAlias(name=ast.Name(id=name))
            ):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {
                    part.id
                    for target in targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name)
                }
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def ours(module: str) -> bool:
    return module.split(".")[0] == "bayesmix"


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def test_every_room_stands_on_a_floor() -> None:
    rooms = {room_of(file) for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(STEP_OF), f"not in the floor plan: {sorted(rooms - set(STEP_OF))}"


def test_imports_go_down(modules: list[Path]) -> None:
    breaches = [
        f"{place(file, found.line)}: {room_of(file)} imports {target}"
        for file in modules
        for found in imports(parsed(file))
        if ours(found.module)
        for target in [[*found.module.split("."), found.name or ""][1]]
        if target != room_of(file)
        and STEP_OF.get(target, len(STEPS)) >= STEP_OF.get(room_of(file), len(STEPS))
    ]
    assert not breaches, "\n".join(breaches)


def test_modules_import_no_circle(modules: list[Path]) -> None:
    graph = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): {
            each.module for each in imports(parsed(file))
        }
        for file in modules
    }
    graph = {module: targets & graph.keys() for module, targets in graph.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_names_come_from_the_module_that_defines_them(modules: list[Path]) -> None:
    breaches = []
    for file in modules:
        for found in imports(parsed(file)):
            if found.module.startswith("."):
                breaches.append(f"{place(file, found.line)}: a relative import")
            elif found.module == "bayesmix":
                breaches.append(f"{place(file, found.line)}: imports from the package root")
            elif (
                ours(found.module)
                and found.name
                and not module_file(f"{found.module}.{found.name}")
            ):
                home = module_file(found.module)
                if home is None or found.name not in defined(parsed(home)):
                    breaches.append(
                        f"{place(file, found.line)}: {found.name} is not defined in {found.module}"
                    )
    assert not breaches, "\n".join(breaches)


def test_libraries_stay_home(modules: list[Path]) -> None:
    breaches = [
        f"{place(file, found.line)}: {library} belongs in {' or '.join(sorted(HOMES[library]))}"
        for file in modules
        for found in imports(parsed(file))
        if (library := found.module.split(".")[0]) in HOMES and room_of(file) not in HOMES[library]
    ]
    assert not breaches, "\n".join(breaches)


def test_only_the_model_states_a_numpyro_program(modules: list[Path]) -> None:
    breaches = []
    for file in modules:
        if room_of(file) == "model":
            continue
        tree = parsed(file)
        aliases = {
            alias.asname or alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if (alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}")
            in {"numpyro", "numpyro.primitives"}
        }
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module="numpyro" | "numpyro.primitives", names=names):
                    stated = {alias.name for alias in names} & STATEMENTS
                case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in aliases:
                    stated = {attr} & STATEMENTS
                case ast.Attribute(value=ast.Attribute(attr="primitives"), attr=attr):
                    stated = {attr} & STATEMENTS
                case _:
                    continue
            breaches += [f"{place(file, node.lineno)}: numpyro.{name}" for name in stated]
    assert not breaches, "\n".join(breaches)


def is_thin(node: ast.stmt) -> bool:
    """Whether a package root may hold a statement: docstring, re-exports, lazy loading.

    The root is lazy since `bayesmix --help` runs it, and may not wait seconds for JAX.
    """
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.ImportFrom(module="typing" | "importlib" | "__future__" | "bayesmix.deprecation"):
            return True
        case ast.ImportFrom(names=names):
            return all(alias.asname == alias.name for alias in names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return all(isinstance(each, ast.ImportFrom) and is_thin(each) for each in node.body)
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in {"__all__", "__version__"}
        case ast.AnnAssign(target=ast.Name(id="__version__"), value=None):
            return True
        case ast.Assign(targets=[ast.Tuple(elts=elements)], value=ast.Call()):
            lazy = {"__getattr__", "__dir__", "__all__"}
            return all(isinstance(each, ast.Name) and each.id in lazy for each in elements)
        case ast.FunctionDef(name="__getattr__" | "__dir__"):
            return (node.end_lineno or 0) - node.lineno < 15
    return False


def test_package_roots_only_re_export() -> None:
    breaches = [
        f"{place(file, node.lineno)}: {ast.unparse(node).splitlines()[0]}"
        for file in [*PACKAGE.rglob("__init__.py"), *PACKAGE.rglob("__init__.pyi")]
        for node in parsed(file).body
        if not is_thin(node)
    ]
    assert not breaches, "\n".join(breaches)


def test_every_folder_is_a_package() -> None:
    bare = {
        file.parent for file in PACKAGE.rglob("*.py") if not (file.parent / "__init__.py").is_file()
    }
    assert not bare, f"no __init__.py in {sorted(str(folder.relative_to(ROOT)) for folder in bare)}"


def test_every_public_name_has_a_docstring() -> None:
    package = importlib.import_module("bayesmix")
    names = [name for name in dir(package) if not name.startswith("_")]
    public = {name: getattr(package, name) for name in names}
    mute = [name for name, value in public.items() if callable(value) and not documented(value)]
    assert not mute, f"no docstring of its own: {mute}"


def documented(value: object) -> bool:
    """Whether a class or function has a docstring; the signature of a dataclass is none."""
    doc = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    return bool(doc) and not doc.startswith(f"{getattr(value, '__name__', '')}(")


def test_files_are_mostly_short() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    lines = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in files
    }
    long = {file: count for file, count in lines.items() if count > LONG}
    assert not [file for file, count in long.items() if count > TOO_LONG], (
        f"over {TOO_LONG} lines: {long}"
    )
    assert len(long) <= max(1, SHARE_LONG * len(files)), f"too many files over {LONG} lines: {long}"


def test_top_level_is_fixed(project_files: list[str]) -> None:
    extra = {file.split("/")[0] for file in project_files} - TOP_LEVEL
    assert not extra, f"not in the plan of the house: {sorted(extra)}"


def test_no_file_names_a_registry_or_a_machine(project_files: list[str]) -> None:
    # In pieces, so that this file does not name them either.
    hosts = [
        ".".join(host)
        for host in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("anaconda", "org"),
        )
    ]
    paths = [
        f"{ROOT.as_posix()}/",
        f"{Path.home().as_posix()}/",
        *("/".join(("", home, "")) for home in ("home", "Users")),
    ]
    forbidden = re.compile("|".join(map(re.escape, hosts + paths)))
    named = []
    for file in project_files:
        try:
            text = (ROOT / file).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):  # binary, or deleted and not yet committed
            continue
        named += [f"{file}: {word}" for word in set(forbidden.findall(text))]
    assert not named, "\n".join(named)


HELP = """
import sys
from bayesmix.cli import main
sys.argv = ["bayesmix", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"jax", "numpyro", "arviz", "pandas", "matplotlib"} & set(sys.modules)
assert not heavy, f"--help imports {sorted(heavy)}"
"""


def test_help_does_not_import_jax() -> None:
    if "cli" not in {room_of(file) for file in PACKAGE.rglob("*.py")}:
        pytest.skip("the command line does not stand yet")
    done = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_fitting_does_not_wait_for_plots() -> None:
    script = (
        "import sys, bayesmix.inference, bayesmix.evaluation.compare; "
        "assert 'matplotlib' not in sys.modules, 'inference imports matplotlib'"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_changes_no_setting(modules: list[Path]) -> None:
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in modules
        if room_of(file) != "pocket"
    ]
    script = (
        "import importlib, warnings, jax, matplotlib, numpyro\n"
        "before = jax.config.values.copy(), dict(matplotlib.rcParams), warnings.filters[:]\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "after = jax.config.values.copy(), dict(matplotlib.rcParams), warnings.filters[:]\n"
        "assert before[0] == after[0], 'jax.config'\n"
        "assert before[1] == after[1], 'matplotlib.rcParams'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_readme_opens_with_the_two_commands_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)
    commands = [
        line.partition("#")[0].removeprefix("$ ").strip()
        for block in blocks
        for line in block.splitlines()
    ]
    ran = [command for command in commands if command.startswith("uv ")]
    assert ran[:2] == [SETUP_COMMAND, TEST_COMMAND]
    assert (
        f"stage tests {TEST_COMMAND}"
        in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    )


def test_dependencies_that_change_are_bounded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for library in ("jax", "numpyro", "arviz"):
        (requirement,) = [
            each for each in project["dependencies"] if re.match(rf"{library}\b", each)
        ]
        assert ">=" in requirement and "<" in requirement.replace(">=", ""), requirement


@pytest.fixture(scope="module")
def modules() -> list[Path]:
    """Every file of the package but its roots."""
    return [file for file in sorted(PACKAGE.rglob("*.py")) if file.name != "__init__.py"]


@pytest.fixture(scope="module")
def project_files() -> list[str]:
    """What git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()
