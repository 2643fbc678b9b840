#!/usr/bin/env bash
# Says in one line what to install where Java is missing or too old.
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
hint="install Java 17 or later (for example: apt-get install openjdk-17-jre-headless) and put it on PATH or in JAVA_HOME"
if ! command -v "$java" >/dev/null 2>&1; then
  echo "dp-spark: Spark needs Java 17 or later and there is none: $hint" >&2
  exit 1
fi
major=$("$java" -version 2>&1 | sed -nE 's/.*version "(1\.)?([0-9]+).*/\2/p' | head -n 1)
if [ "${major:-0}" -lt 17 ]; then
  echo "dp-spark: Spark needs Java 17 or later and $java is version ${major:-unknown}: $hint" >&2
  exit 1
fi
