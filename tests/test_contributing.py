"""CONTRIBUTING.md says how many files a new part touches; here each is added to a copy, counted and used by name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blurnet.attacks.base import Attack

REPOSITORY = Path(__file__).parents[1]

LAYER = '''"""A layer."""

from torch import Tensor, nn


def toy_layer(x: Tensor, factor: float = 1.0) -> Tensor:
    """Maps (N, C, H, W), scaled."""
    return factor * x


class ToyLayer(nn.Module):
    """:func:`toy_layer` as a module."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """See :func:`toy_layer`."""
        return toy_layer(x, self.factor)

    def extra_repr(self) -> str:
        """The argument."""
        return f"factor={self.factor}"
'''

TRANSFORM = '''"""A transformation."""

from torch import Tensor

from blurnet.checks import check_images
from blurnet.transforms.base import Transform


def toy_transform(x: Tensor, shift: int = 1) -> Tensor:
    """Images (N, C, H, W) in [0, 1], moved to the right; what leaves comes in again."""
    check_images(x, channels=None)
    return x.roll(shift, -1)


class ToyTransform(Transform):
    """:func:`toy_transform` as a module."""

    differentiable = True

    def __init__(self, shift: int = 1) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """See :func:`toy_transform`."""
        return toy_transform(x, self.shift)

    def extra_repr(self) -> str:
        """The argument."""
        return f"shift={self.shift}"
'''

#: An attack implements one method; this one hands on to another attack.
METHOD = next(iter(Attack.__abstractmethods__))
ATTACK = f'''"""An attack."""

from dataclasses import dataclass, field

from torch import Tensor

from blurnet.attacks.base import Attack
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.masks import Place


@dataclass(frozen=True)
class ToyAttack(Attack):
    """Free noise under a mask."""

    mask: Tensor | Place | None = field(default=None, compare=False, repr=False)
    steps: int = 100
    seed: int = 0

    def {METHOD}(self, *problem):
        """See the class."""
        return PatchPGD(self.mask, steps=self.steps, seed=self.seed).{METHOD}(*problem)
'''


class Copy:
    """A copy of the package and its tests; what is edited in it is noted."""

    def __init__(self, root: Path) -> None:
        self.root, self.made, self.edited = root, [], []
        skipped = shutil.ignore_patterns("__pycache__", "golden")
        for folder in ("blurnet", "tests"):
            shutil.copytree(REPOSITORY / folder, root / folder, ignore=skipped)
        shutil.copy(REPOSITORY / "pyproject.toml", root)

    def make(self, name: str, text: str) -> None:
        """A new file."""
        assert not (self.root / name).exists()
        (self.root / name).write_text(text)
        self.made.append(name)

    def add(self, name: str, line: str, behind: str, imported: str = "") -> None:
        """A line behind the one that a pattern finds, and an import at the head of the file."""
        file = self.root / name
        more = lambda match: f"{match[0]}\n{line}"  # noqa: E731
        text, found = re.subn(f"^({behind})$", more, file.read_text(), flags=re.MULTILINE)
        assert found == 1, f"{name}: {found} lines are {behind!r}"
        if imported:
            text, found = re.subn(r"^(?=from blurnet\.)", f"{imported}\n", text, count=1, flags=re.MULTILINE)
            assert found == 1
        file.write_text(text)
        self.edited.append(name)

    def entry(self, name: str, table: str, line: str, imported: str) -> None:
        """A line in a dictionary, found by its name."""
        self.add(name, f"    {line}", rf"{table}\b[^=]*= \{{", imported)

    def public(self, module: str, name: str) -> None:
        """A public name."""
        self.add("blurnet/__init__.pyi", f"from .{module} import {name} as {name}", r'"""Every public name.*"""')

    def run(self, *command: str) -> str:
        """What Python prints that imports the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *command], cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def promised(heading: str) -> int:
    """How many files CONTRIBUTING.md lists under a heading: the items of its numbered list."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return len(re.findall(r"^\d+\. ", section, re.MULTILINE))


def check_count(copy: Copy, heading: str) -> None:
    assert len(copy.made) == 1
    assert len(set(copy.edited)) == len(copy.edited) == 3
    assert len(copy.made) + len(copy.edited) == promised(heading) <= 4


def add_a_layer(copy: Copy) -> None:
    copy.make("blurnet/layers/toy.py", LAYER)
    copy.public("layers.toy", "ToyLayer")
    copy.entry("blurnet/zoo/build.py", "LAYERS", '"toy": ToyLayer,', "from blurnet.layers.toy import ToyLayer")
    case = '"toy": Case(lambda: ToyLayer(0.5), lambda _, x: toy_layer(x, 0.5)),'
    names = "from blurnet.layers.toy import ToyLayer, toy_layer"
    copy.entry("tests/layers/test_conformance.py", "LAYERS", case, names)


def test_a_layer(copy: Copy) -> None:
    add_a_layer(copy)
    check_count(copy, "A layer")
    code = """
import blurnet
from blurnet.zoo.build import build
from blurnet.zoo.parse import parse_defenses
from blurnet.zoo.spec import ModelSpec
net = build(ModelSpec("lisa_cnn", ["a", "b"], parse_defenses("toy:factor=0.5:after=relu1")))
print([module.factor for module in net.modules() if isinstance(module, blurnet.ToyLayer)])
"""
    assert copy.run("-c", code).strip() == "[0.5]"


def add_a_transformation(copy: Copy) -> None:
    copy.make("blurnet/transforms/toy.py", TRANSFORM)
    copy.public("transforms.toy", "ToyTransform")
    imported = "from blurnet.transforms.toy import ToyTransform"
    copy.entry("blurnet/zoo/build.py", "TRANSFORMS", '"toy": ToyTransform,', imported)
    case = '"toy": Case(ToyTransform, toy_transform),'
    copy.entry("tests/transforms/test_conformance.py", "TRANSFORMS", case, f"{imported}, toy_transform")


def test_a_transformation(copy: Copy) -> None:
    add_a_transformation(copy)
    check_count(copy, "A transformation")
    code = """
from blurnet.zoo.build import make_transforms
from blurnet.zoo.parse import parse_defenses
print([made.shift for made in make_transforms(parse_defenses("toy:shift=2"))])
"""
    assert copy.run("-c", code).strip() == "[2]"


def add_an_attack(copy: Copy) -> None:
    copy.make("blurnet/attacks/patch/toy.py", ATTACK)
    copy.public("attacks.patch.toy", "ToyAttack")
    imported = "from blurnet.attacks.patch.toy import ToyAttack"
    entry = '"toy": Entry(lambda c: ToyAttack(c.where(), c.gradient_steps, c.seed), "noise under a mask", ToyAttack),'
    copy.entry("blurnet/evaluation/attacks.py", "ATTACKS", entry, imported)
    copy.entry("tests/attacks/cases.py", "ATTACKS", '"toy": Case(lambda m: ToyAttack(m)),', imported)


def test_an_attack(copy: Copy) -> None:
    add_an_attack(copy)
    check_count(copy, "An attack")
    code = """
import torch
import blurnet
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
images = torch.rand(4, 3, 8, 8)
labels = net(images).argmax(1)
report = blurnet.evaluate(net, images, labels, attacks="toy:steps=2", sanity=False, progress=False)
print([attack.name for attack in report.per_image.attacks])
"""
    assert "['toy steps=2']" in copy.run("-c", code)


def test_an_option_of_an_evaluation(copy: Copy) -> None:
    config = "blurnet/evaluation/config.py"
    copy.add(config, "        toy: How often to play.", r" {8}attacks: .*")
    copy.add(config, "    toy: Count = 3", r" {4}attacks: str = .*")
    assert set(copy.edited) == {config}
    assert promised("An option of an evaluation") == 2  # the field, and what reads it
    code = """
import blurnet
from blurnet.cli.options import config_of, parser
command = ["--model", "net", "--out", "folder", "--toy", "5"]
print(config_of(parser().parse_args(command)).to_dict()["toy"], "How often to play." in parser().format_help())
try:
    blurnet.EvaluationConfig(toy=0)
except ValueError as error:
    print(error)
"""
    first, second = copy.run("-c", code).splitlines()
    assert first == "5 True"
    assert "toy" in second


@pytest.mark.slow
def test_the_conformance_suites_enroll_them(copy: Copy) -> None:
    add_a_layer(copy)
    add_a_transformation(copy)
    add_an_attack(copy)
    for folder in ("layers", "transforms", "attacks"):
        suite = f"tests/{folder}/test_conformance.py"
        said = copy.run("-m", "pytest", suite, "-k", "toy", "-q", "-p", "no:cacheprovider")
        assert re.search(r"[1-9]\d* passed", said), said
