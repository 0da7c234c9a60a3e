"""The report: everything the demo did, as one HTML file that needs nothing else."""

import base64
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from ... import __version__
from ...ops.geometry import Sizes
from ...planning import readable_bytes
from ..verification.checks import Row
from .layers import Checked
from .line import counted
from .paint import photograph
from .scene import Scene
from .stage import Stage

FILE = "index.html"


@dataclass(frozen=True)
class Findings:
    """Everything that the demo found out."""

    rows: list[Row]
    layers: list[Checked]
    scenes: list[Scene]
    seconds: float

    @property
    def cases(self) -> int:
        """Checks behind the rows of the first table."""
        return sum(row.cases for row in self.rows)

    @property
    def claims(self) -> int:
        """Statements that the scenes computed."""
        return sum(len(scene.claims) for scene in self.scenes)

    @property
    def broken(self) -> list[str]:
        """What did not hold, in words; nothing if all is well."""
        return [
            *(f"system {row.number}, {row.system}" for row in self.rows if not row.passed),
            *(f"layer {c.layer.name}: {c.error:.2f} budgets" for c in self.layers if not c.held),
            *(f"{s.title}: {c.text}" for s in self.scenes for c in s.claims if not c.held),
        ]


def write(findings: Findings, stage: Stage, folder: Path) -> Path:
    """Write `index.html` into the folder and return its path."""
    environment = Environment(
        loader=PackageLoader("faltung.tools.demo", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "data_uri": data_uri,
        "kind": lambda item: type(item).__name__.lower(),
        "counted": counted,
        "sizes": sizes,
        "readable_bytes": readable_bytes,
    }
    html = environment.get_template("report.html.jinja").render(
        found=findings,
        broken=findings.broken,
        photo=tuple(stage.photo.shape),
        portrait=photograph(stage.photo[0], "", "Portrait of Grace Hopper in uniform."),
        version=__version__,
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
    )
    path = folder / FILE
    path.write_text(html, encoding="utf-8")
    return path


def data_uri(image: bytes, mime: str = "image/png") -> str:
    """An image written out inside the page."""
    return f"data:{mime};base64,{base64.b64encode(image).decode('ascii')}"


def sizes(shape: Sizes) -> str:
    """A shape as people write it.

    >>> sizes((3, 300, 250))
    '3×300×250'
    """
    return "×".join(str(n) for n in shape)
