#!/usr/bin/env bash
# Puts a program at .build/bin/NAME: debian.sh NAME [PATH-WITHIN-PACKAGE]
# It is the system's, where that has one; else Debian's package of that name with all it needs,
# unpacked under .build/NAME without root; else a message says what to install.
set -euo pipefail
cd "$(dirname "$0")/../.."

name=$1
program=${2:-usr/bin/$name}
folder=$PWD/.build/$name
link=.build/bin/$name
mkdir -p .build/bin

give_up() {
    echo "$name is needed: $1. To install it (as root):" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends $name" >&2
    exit 1
}

# Asked without .build/bin in the path, which would only find what an earlier run put there.
system=$(PATH=${PATH//"$PWD/.build/bin:"/} command -v "$name" || true)
if [[ $system ]]; then
    ln -sfn "$system" "$link"
    exit 0
fi
if [[ -x $link && -e $folder/.unpacked ]]; then
    exit 0
fi

command -v apt-get dpkg-deb >/dev/null || give_up "this is no Debian"
plan=$(apt-get -s install --no-install-recommends "$name" 2>/dev/null || true)
wanted=$(awk '$1 == "Inst" {print $2}' <<<"$plan")
[[ $wanted ]] || give_up "apt-get knows no package of that name, or its lists are missing"

echo "unpacking Debian's $name into $folder" >&2
rm -rf "$folder"
mkdir -p "$folder/packages"
# shellcheck disable=SC2086 # a word each
(cd "$folder/packages" && apt-get download $wanted >&2) || give_up "its packages cannot be fetched"
for package in "$folder"/packages/*.deb; do
    dpkg-deb -x "$package" "$folder"
done
rm -r "$folder/packages"
[[ -x $folder/$program ]] || give_up "its package has no $program"

rm -f "$link"
cat >"$link" <<EOF
#!/bin/sh
libraries=\$(printf '%s:' "$folder"/usr/lib/*-linux-gnu "$folder"/usr/lib/*-linux-gnu/pulseaudio \\
    "$folder"/lib/*-linux-gnu)
export LD_LIBRARY_PATH="\$libraries\$LD_LIBRARY_PATH"
# Where the system has no fonts, those that came along.
[ -e /etc/fonts/fonts.conf ] ||
    export FONTCONFIG_PATH="$folder/etc/fonts" XDG_DATA_HOME="$folder/usr/share"
exec "$folder/$program" "\$@"
EOF
chmod +x "$link"
touch "$folder/.unpacked"
