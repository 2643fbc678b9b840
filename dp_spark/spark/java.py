"""Whether there is a Java that Spark can run on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dp_spark.errors import DpSparkError

_MIN_JAVA = 17


def check_java() -> None:
    """Checks the Java that Spark would start: that of JAVA_HOME, else the first on PATH.

    Raises:
        DpSparkError: If there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    mend = f"install a Java runtime of version {_MIN_JAVA} (such as openjdk-17-jre-headless) and put it on PATH"
    if java is None or not Path(java).exists():
        raise DpSparkError(f"Spark needs Java {_MIN_JAVA} or later, and there is none", mend=mend)
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = text.partition('"')[2].partition('"')[0].split(".")
    major = version[1] if version[0] == "1" and len(version) > 1 else version[0].partition("-")[0]
    if not major.isdigit() or int(major) < _MIN_JAVA:
        raise DpSparkError(f"Spark needs Java {_MIN_JAVA} or later; {java} is version {major or 'unknown'}", mend=mend)
