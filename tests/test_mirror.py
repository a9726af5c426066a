"""The tests mirror the package: each file of blurnet/ has a test file of its name in the same folder of tests/."""

from pathlib import Path

import pytest

import blurnet

PACKAGE = Path(blurnet.__file__).parent
TESTS = Path(__file__).parent
FILES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py" and path.relative_to(PACKAGE).parts[0] != "models"
]

#: Files that have none, with the one whose tests would fail if they broke.
EXCEPTIONS = {
    "attacks/engine/progress.py": "attacks/universal/test_adversarial_patch.py",  # moves a bar
    "data/sources/base.py": "data/test_module.py",  # the settings of every source
    "evaluation/report/content.py": "evaluation/report/test_report.py",  # the fields of a report
    "evaluation/report/kept.py": "evaluation/report/test_make.py",  # types
    "evaluation/report/parts.py": "evaluation/report/test_report.py",  # types
}


def mirrored(file: Path) -> Path:
    """Where the tests of a file of the package stand; a leading underscore of its name is left out."""
    return TESTS / file.parent / f"test_{file.stem.lstrip('_')}.py"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_has_its_tests(file):
    wanted = mirrored(file)
    if file.as_posix() not in EXCEPTIONS:
        assert wanted.is_file(), f"blurnet/{file} has no tests/{wanted.relative_to(TESTS)}, and no entry in EXCEPTIONS"


@pytest.mark.parametrize(("file", "tested"), EXCEPTIONS.items(), ids=str)
def test_every_exception_is_needed(file, tested):
    assert Path(file) in FILES, f"blurnet/{file} is gone"
    assert not mirrored(Path(file)).exists(), f"blurnet/{file} has tests of its own now"
    assert (TESTS / tested).is_file()
