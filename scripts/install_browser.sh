#!/usr/bin/env bash
# A Chromium for tests/report/test_page.py, which looks at the release report as a reader does. Does nothing where there is one.
set -euo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" > /dev/null; then
    echo "A browser is there: $(command -v "$name")"
    exit 0
  fi
done

advice="Install Chromium with your system's packages (Debian: apt-get install chromium fonts-dejavu-core), so that \`chromium\` is in PATH."
if ! command -v apt-get > /dev/null; then
  echo "$advice" >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif sudo -n true 2> /dev/null; then
  as_root=(sudo -n)
else
  echo "Installing a browser needs root. $advice" >&2
  exit 1
fi
echo "Installing Chromium (Debian packages, once)"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null
command -v chromium || command -v chromium-browser || { echo "$advice" >&2; exit 1; }
