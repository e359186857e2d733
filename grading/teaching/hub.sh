#!/bin/sh
# Make .venv-class: JupyterHub and its proxy on top of what $VENV has. Called by `make class`; safe to run again.
# Every student runs this Python, so it has to be one that everybody may run, of the same version as $VENV's.
set -eu
PATH="$PATH:/usr/sbin:/sbin" # runuser, where root's path is a user's

stop() { printf '%s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || stop "A class needs root, because it starts a server for every student as that student: sudo make class"
version=$("$VENV/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
fits() {
  runuser -u nobody -- "$1" -c "import sys; sys.exit('python%d.%d' % sys.version_info[:2] != '$version')" >/dev/null 2>&1
}
for candidate in ${PYTHON:-/usr/bin/$version /usr/local/bin/$version /opt/python/bin/$version}; do
  if fits "$candidate"; then found=$candidate && break; fi
done
[ -n "${found:-}" ] || stop "No $version that every user may run was found. Install one, or name it: make class PYTHON=/usr/bin/$version"
command -v npm >/dev/null || stop "JupyterHub's proxy comes from npm: install Node 20 or newer with npm, then make class again."
node=$(node -p 'process.versions.node.split(".")[0]')
[ "$node" -ge 20 ] || stop "JupyterHub's proxy needs Node 20 or newer, and this is Node $node. See grading/docs/class.md."
echo "Installing JupyterHub and its proxy into .venv-class, once."
rm -rf .venv-class
trap '[ $? = 0 ] || rm -rf .venv-class' EXIT  # half of it is worse than none
"$found" -m venv --without-pip .venv-class
"$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >".venv-class/lib/$version/site-packages/course.pth"
"$VENV/bin/python" -m pip --python .venv-class/bin/python install -q --disable-pip-version-check -r grading/teaching/requirements.txt
npm install --silent --no-fund --no-audit --prefix .venv-class configurable-http-proxy@5.3.0
