"""Builds what is deployed, into ``dist/``; ``make dist`` runs all of it, ``make wheel`` only what needs no network.

dist/dp_spark-VERSION-py3-none-any.whl                 the wheel
dist/dp_spark.zip                                      the same files for --py-files, which takes no wheel
dist/without-spark/dp_spark-VERSION-py3-none-any.whl   the wheel for platforms that bring Spark and Delta themselves
dist/dp_spark-env.tar.gz                               Python libraries of the driver, with dp-spark, without Spark
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import venv_pack
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
#: What a cluster brings. A second pyspark beside its own would be loaded instead of it.
OF_THE_PLATFORM = {"pyspark", "delta-spark"}
_REQUIRES = "Requires-Dist: "


def build_wheel(folder: Path) -> Path:
    """The wheel, built by the hatchling of this environment: no network."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [wheel] = folder.glob("dp_spark-*.whl")
    return wheel


def zip_of(wheel: Path) -> Path:
    """The wheel under a name that ``--py-files`` takes; Python imports from it as it is."""
    return Path(shutil.copyfile(wheel, wheel.parent / "dp_spark.zip"))


def without_spark(wheel: Path) -> Path:
    """The wheel whose metadata does not ask for what the platform brings."""
    target = wheel.parent / "without-spark" / wheel.name
    target.parent.mkdir(exist_ok=True)
    with ZipFile(wheel) as whole, ZipFile(target, "w", ZIP_DEFLATED) as copy:
        content = {info.filename: whole.read(info) for info in whole.infolist()}
        [metadata] = [name for name in content if name.endswith(".dist-info/METADATA")]
        record = metadata.replace("METADATA", "RECORD")
        content[metadata] = _lines(content[metadata], lambda line: None if _asks_for_spark(line) else line)
        seal = f"{metadata},sha256={_digest(content[metadata])},{len(content[metadata])}"
        content[record] = _lines(content[record], lambda line: seal if line.startswith(f"{metadata},") else line)
        for info in whole.infolist():
            copy.writestr(info, content[info.filename])
    return target


def make_environment(folder: Path, wheel: Path) -> None:
    """A fresh environment with the wheel and the versions of ``constraints.txt``, from the package index.

    An editable install cannot be packed: it is a link to this checkout, which is not on the other machine.
    """
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    constraints = ["--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, str(wheel)], check=True)


def pack(folder: Path, archive: Path, *, compress_level: int = 6) -> None:
    """Packs an environment so that it works wherever it is unpacked, on machines with the same Python."""
    venv_pack.pack(prefix=str(folder), output=str(archive), compress_level=compress_level, force=True)


def main(arguments: list[str]) -> int:
    """Builds the wheel and its two copies; the environment too unless the one argument is ``wheel``."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    wheel = build_wheel(dist)
    lean = without_spark(wheel)
    built = [wheel, zip_of(wheel), lean]
    if arguments != ["wheel"]:
        with tempfile.TemporaryDirectory() as folder:
            make_environment(Path(folder) / "environment", lean)
            built.append(dist / "dp_spark-env.tar.gz")
            pack(Path(folder) / "environment", built[-1])
    for path in built:
        sys.stdout.write(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB\n")
    return 0


def _asks_for_spark(line: str) -> bool:
    return line.startswith(_REQUIRES) and Requirement(line.removeprefix(_REQUIRES)).name in OF_THE_PLATFORM


def _lines(content: bytes, change: Callable[[str], str | None]) -> bytes:
    kept = [changed for line in content.decode().split("\n") if (changed := change(line)) is not None]
    return "\n".join(kept).encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
