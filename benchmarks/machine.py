"""What the benchmark runs on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """CPU, cores, memory, operating system, Java and Python."""
    return {
        "CPU": _after_colon(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "Cores": str(os.cpu_count()),
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "OS": f"{_os_name()}, Linux {platform.release()}" if platform.system() == "Linux" else platform.platform(),
        "Java": _java_version(),
        "Python": platform.python_version(),
    }


def _after_colon(path: Path, name: str) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _java_version() -> str:
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    if java is None:
        return "none"
    lines = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return next((line for line in lines if "version" in line), "unknown")
