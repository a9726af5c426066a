"""The stack: every file imports downwards only, from the file that defines the name, and importing stays cheap."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import blurnet

PACKAGE = Path(blurnet.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "models" not in path.relative_to(PACKAGE).parts[:1])

#: Parts by row, lowest first. A part imports from lower rows and from itself, never from a sibling in its row.
ROWS = (
    ("checks",),  # the guards stand below everything that raises through them
    ("bounds",),
    ("strict",),
    ("balls", "masks", "bpda", "filters", "settings", "spectra", "rates", "files", "modes", "quiet", "templates"),
    ("layers", "transforms", "nets", "attacks", "certified", "data"),
    ("zoo",),
    ("training", "evaluation"),
    ("cli",),
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}

#: Lightning stays in these parts, so that importing the rest is as fast as importing torch.
LIGHTNING = {"data", "training", "evaluation", "cli"}

#: DESIGN, section 1, and what the README uses.
PUBLIC = [
    *("insert_after", "insert_before", "first_conv", "penalties", "list_models", "load_model", "save_model"),
    *("FGSM", "PGD", "Ball", "External"),
    *("LGS", "RP2", "LaVAN", "LearnedLowPass", "FixedLowPass", "TotalVariation", "Tikhonov"),
    *("Normalize", "LisaCNN", "GtsrbCNN", "ResNet32"),
    *("Transform", "Pipeline", "adaptive", "defend", "identity_bpda", "transforms_of"),
]


def name_of(path: Path) -> str:
    """blurnet.layers.insert for its file; blurnet.layers for its __init__."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> list[tuple[str, str | None]]:
    """(module, name) of every import anywhere in the file; name is None for ``import module``."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the file in full"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def ours(path: Path) -> list[tuple[str, str | None]]:
    return [(module, name) for module, name in imports(path) if module.split(".")[0] == "blurnet"]


def defined(module: str) -> set[str]:
    """Names a module assigns, defines or declares at its top level; imported ones do not count."""
    file = PACKAGE.parent.joinpath(*module.split("."))
    path = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


each_file = pytest.mark.parametrize("path", FILES, ids=name_of)


@each_file
def test_every_file_has_a_row(path):
    part = part_of(name_of(path))
    assert part == "" or part in ROW, f"{path}: give {part!r} a row in the stack"


@each_file
def test_imports_point_downwards(path):
    part = part_of(name_of(path))
    if part == "":
        return  # blurnet/__init__.py gives every public name, through its .pyi
    for module, name in ours(path):
        other = part_of(module)
        if other == "":
            assert name == "__version__", f"{path}: import {name} from the file that defines it"
            continue
        assert other == part or ROW[other] < ROW[part], f"{path}: {part} may not import from {other}"


@each_file
def test_imports_name_the_defining_file(path):
    for module, name in ours(path):
        if module == "blurnet" and name == "__version__":
            continue
        assert name is not None, f"{path}: write 'from {module} import name'"
        assert name in defined(module), f"{path}: {module} does not define {name}"


@each_file
def test_no_cycles_inside_a_part(path):
    """Following the imports of a file never leads back to it."""
    start, seen, todo = name_of(path), set(), [name_of(path)]
    if path.name == "__init__.py":
        return
    while todo:
        file = PACKAGE.parent.joinpath(*todo.pop().split(".")).with_suffix(".py")
        for module, _ in ours(file) if file.exists() else ():
            assert module != start, f"{file} leads back to {start}"
            if module not in seen:
                seen.add(module)
                todo.append(module)


@each_file
def test_lightning_stays_where_it_belongs(path):
    roots = {module.split(".")[0] for module, _ in imports(path)}
    if part_of(name_of(path)) not in LIGHTNING:
        assert not roots & {"pytorch_lightning", "lightning", "torchmetrics", "jsonargparse"}


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py" and p.parent != PACKAGE], ids=name_of)
def test_init_files_only_re_export(path):
    for node in ast.parse(path.read_text()).body:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        exports = isinstance(node, ast.Assign) and "__all__" in ast.unparse(node.targets[0])
        imports = isinstance(node, ast.ImportFrom) or ast.unparse(node) == "import lazy_loader"
        assert text or exports or imports, f"{path}: {ast.unparse(node)}"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = "{'pytorch_lightning', 'lightning', 'torchmetrics', 'matplotlib', 'scipy', 'timm', 'tensorboard', 'pandas'}"


def test_importing_blurnet_loads_nothing_heavy():
    assert python(f"import sys, blurnet; print(sorted({HEAVY} & set(sys.modules)))").strip() == "[]"


def test_defenses_and_attacks_load_no_lightning():
    names = "FixedLowPass, LearnedLowPass, LGS, RP2, LaVAN, LisaCNN, Normalize, insert_after"
    code = f"import sys; from blurnet import {names}; print(sorted({HEAVY} & set(sys.modules)))"
    assert python(code).strip() == "[]"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    assert name in blurnet.__all__
    value = getattr(blurnet, name)
    assert getattr(importlib.import_module(value.__module__), name) is value


def test_every_listed_name_exists():
    assert sorted(blurnet.__all__) == sorted(set(blurnet.__all__))
    for name in blurnet.__all__:
        assert getattr(blurnet, name) is not None
    assert set(blurnet.__all__) <= set(dir(blurnet))
    with pytest.raises(AttributeError, match="nothing"):
        _ = blurnet.nothing


REPOSITORY = PACKAGE.parent

#: What stands beside the package. An example shows what a user writes, so that none takes anything from another.
BESIDE = ("benchmarks", "examples", "reproduce", "tools")


def test_no_cycles_beside_the_package():
    """Benchmarks, examples, reproductions and tools: a file's imports never lead back to it, and scripts stay apart."""
    files = [path for folder in BESIDE for path in (REPOSITORY / folder).rglob("*.py") if path.name != "__init__.py"]
    leads = {name_of(path): beside(path) for path in files}
    for start in leads:
        seen, todo = set(), [start]
        while todo:
            for module in leads.get(todo.pop(), set()) - seen:
                assert module != start, f"{start} leads back to itself"
                seen.add(module)
                todo.append(module)
    scripts = {name for name in leads if name.split(".")[0] in ("examples", "reproduce") and "._common." not in name}
    for script in scripts:
        assert not leads[script] & scripts, f"{script}: what two scripts share goes to reproduce/_common"


def beside(path: Path) -> set[str]:
    """The modules beside the package that a file imports, by the file that defines the name."""
    found = set()
    for module, name in imports(path):
        if module.split(".")[0] in BESIDE:
            whole = f"{module}.{name}"
            inside = REPOSITORY.joinpath(*whole.split(".")).with_suffix(".py").is_file()
            found.add(whole if inside else module)
    return found
