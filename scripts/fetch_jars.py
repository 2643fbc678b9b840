"""Fetches the Delta jars through Spark's own resolver, quietly; ``make setup`` runs it once."""

import subprocess
import sys

CODE = "from dp_spark.session import get_session; get_session().stop()"


def main() -> int:
    """Starts one session in a child process, whose talkative resolver is shown only where it fails."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-4000:])
        sys.stderr.write("\nThe Delta jars could not be fetched: check the way to Maven Central, then run make setup again\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
