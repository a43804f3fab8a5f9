#!/usr/bin/env bash
# Builds the real control planes that `make test-mesh` tests Weir beside, each once, into a folder
# outside the repository: build.sh [PEER...]
# Prints a line `NAME FOLDER` for each that is there; the folder holds the program and the files
# that it needs, or only files, where no test runs the program. A peer that cannot be built is
# absent, which is said and is no failure.
# A cold build of all takes half an hour on two cores and 11 GB of Go's caches; later ones nothing.
set -uo pipefail
linkerd=${WEIR_LINKERD:+$(realpath "$WEIR_LINKERD")}
cd "$(dirname "$0")"

store=${WEIR_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/weir/peers}
kubernetes=v1.36.3
known=(etcd kube istiod envoy-gateway flagger go-control-plane helm kubeconform prometheus-operator)

say() { echo "$*" >&2; }

# What a peer's folder is made from. `recipe` is counted up when what this script puts there changes.
recipe=1
hash_of() { # PEER
    { echo "$recipe" && cat "$1"/go.mod "$1"/go.sum "$1"/*.go 2>/dev/null; } | sha256sum | cut -c1-16
}

# Compiles in a peer's folder: a main of ours, or the program that its go.mod names as a tool. One
# with neither is only files.
compile() { # OUTPUT
    local version=k8s.io/component-base/version flags="-s -w" what=
    grep -q '^tool ' go.mod && what=tool
    [[ -e main.go ]] && what=.
    [[ -z $what ]] && { go mod download >&2; return; }
    # Flagger and others refuse an API server that does not know its version.
    flags+=" -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=36"
    nice -n 15 go build -mod=readonly -buildvcs=false -p "${WEIR_PEERS_JOBS:-$(nproc)}" \
        -ldflags "$flags" -o "$1" $what >&2
}

# Files of a module that tests apply to the API server.
copy_from() { # MODULE GLOB TO
    local folder
    folder=$(go list -mod=readonly -m -f '{{.Dir}}' "$1") || return 1
    # shellcheck disable=SC2086 # a pattern
    mkdir -p "$3" && cp $folder/$2 "$3" && chmod -R u+w "$3"
}

copy_files() { # PEER TO
    case $1 in
    istiod)
        copy_from istio.io/istio 'manifests/charts/base/files/crd-all.gen.yaml' "$2/crds" &&
            copy_from sigs.k8s.io/gateway-api 'config/crd/standard/*.yaml' "$2/gateway-crds"
        ;;
    envoy-gateway) copy_from sigs.k8s.io/gateway-api 'config/crd/standard/*.yaml' "$2/gateway-crds" ;;
    flagger) copy_from github.com/fluxcd/flagger 'artifacts/flagger/crd.yaml' "$2/crds" ;;
    prometheus-operator)
        local module=github.com/prometheus-operator/prometheus-operator kind
        for kind in servicemonitors prometheusrules; do
            copy_from $module "example/prometheus-operator-crd/*_$kind.yaml" "$2/crds" || return 1
        done
        ;;
    esac
}

# A folder appears under its final name only when all is in it.
build() { # PEER FOLDER
    local making
    making=$(mktemp -d "$store/.making-$1-XXXXXX") || return 1
    say "building $1 (once; minutes when Go's caches are cold)"
    if (cd "$1" && compile "$making/$1" && copy_files "$1" "$making") && mv -T "$making" "$2"; then
        return 0
    fi
    rm -rf "$making"
    return 1
}

mkdir -p "$store" || exit 1
for peer in "${@:-${known[@]}}"; do
    folder=$store/$peer-$(hash_of "$peer")
    if [[ ! -d $folder ]]; then
        if ! command -v go >/dev/null; then
            say "no real $peer: there is no Go to build it with (https://go.dev/dl)"
            continue
        fi
        build "$peer" "$folder" || { say "no real $peer: it does not build, see above"; continue; }
    fi
    echo "$peer $folder"
done
# Linkerd's definitions come in no Go module: WEIR_LINKERD names the file or folder of who has them
# (linkerd install --crds). Without, tests take ours of the same fields.
[[ -n $linkerd ]] && echo "linkerd $linkerd"
exit 0
