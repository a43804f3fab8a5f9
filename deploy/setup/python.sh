#!/usr/bin/env bash
# Unpacks a Python package into a folder of the build's own: python.sh FOLDER PACKAGE==VERSION
# Needs no root and leaves the system's and the user's packages alone.
set -euo pipefail

folder=$1
package=$2
if [[ $(cat "$folder/.installed" 2>/dev/null) == "$package" ]]; then
    exit 0
fi

# The system's pip where there is one, else one of a virtual environment's own.
environment=.build/python
if python3 -m pip --version >/dev/null 2>&1; then
    python=python3
else
    python=$environment/bin/python
    if ! "$python" -m pip --version >/dev/null 2>&1 && ! python3 -m venv --clear "$environment" >&2
    then
        rm -rf "$environment"
        echo "$package needs pip to be installed, and Python's venv to make one (as root):" >&2
        echo "  apt-get install -y --no-install-recommends python3-venv" >&2
        exit 1
    fi
fi

echo "installing $package into $folder" >&2
rm -rf "$folder"
PIP_USER=0 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --target "$folder" "$package" >&2
echo "$package" >"$folder/.installed"
