#!/bin/sh
# Make the environment $VENV (with $PYTHON, if given), and say what is happening. Called by `make setup`; safe to run again.
set -eu

stop() { printf '%s\n' "$*" >&2; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
  if fits "$candidate"; then found=$candidate && break; fi
done
[ -n "${found:-}" ] || stop "No Python 3.11, 3.12 or 3.13 was found (looked for: ${PYTHON:-python3, python3.13, python3.12, python3.11}).
Install one, or name it: make lab PYTHON=/path/to/python3.12"
PYTHON=$found

if ! [ -x "$VENV/bin/pip" ]; then
  echo "1/3 Making the environment $VENV with $("$PYTHON" --version)."
  "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 || {  # Debian's Python lacks ensurepip until python3-venv is installed
    rm -rf "$VENV"
    "$PYTHON" -m venv --without-pip "$VENV" && "$VENV/bin/python" grading/get_pip.py || {
      rm -rf "$VENV"
      stop "Python could not make an environment. On Debian or Ubuntu: sudo apt install python3-venv, then try again."
    }
  }
fi
echo "2/3 Installing PyTorch, JupyterLab and the rest: some gigabytes and some minutes, once."
"$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt >"$VENV/install.log" 2>&1 &
installer=$!
trap 'kill $installer 2>/dev/null; exit 130' INT TERM
while kill -0 $installer 2>/dev/null; do
  sleep 5
  line=$(grep -E '^ *(Collecting|Downloading|Installing|Building|Processing)' "$VENV/install.log" | tail -n 1 | cut -c1-100) || true
  [ "$line" = "${last:-}" ] || printf '    %s\n' "$line"
  last=$line
done
wait $installer || {
  tail -n 5 "$VENV/install.log" >&2
  stop "The installation did not finish (all of it: $VENV/install.log). Is there a network? Then run the same command again."
}
echo "3/3 Telling JupyterLab about the course."
"$VENV/bin/python" -m grading.lab_settings
