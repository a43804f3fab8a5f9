#!/usr/bin/env bash
# Names every tool that the build needs and does not find, with the command that installs it.
set -euo pipefail

missing=()
need() { # TOOL HOW-TO-GET-IT
    command -v "$1" >/dev/null || missing+=("$1: $2")
}

debian="apt-get install -y --no-install-recommends"
need cargo "https://rustup.rs"
need cc "$debian gcc libc6-dev"
need python3 "$debian python3 python3-venv"
for part in "$@"; do # of cargo: fmt, clippy
    ! command -v cargo >/dev/null || cargo "$part" --version >/dev/null 2>&1 ||
        missing+=("cargo $part: rustup component add ${part/#fmt/rustfmt}")
done

if ((${#missing[@]})); then
    echo "these tools are missing (apt-get wants root):" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
