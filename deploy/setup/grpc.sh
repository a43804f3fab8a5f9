#!/usr/bin/env bash
# Puts Python's gRPC, and what it imports, under .build: a client that speaks xDS without a proxy.
set -euo pipefail
cd "$(dirname "$0")/../.."

deploy/setup/python.sh .build/grpcio grpcio==1.85.0
deploy/setup/python.sh .build/typing-extensions typing-extensions==4.16.0
