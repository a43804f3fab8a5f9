#!/usr/bin/env bash
# Puts playwright-core, and the Node.js that runs it, under .build: the Python package of
# Playwright carries both, which spares npm.
set -euo pipefail
cd "$(dirname "$0")/../.."

deploy/setup/python.sh .build/playwright playwright==1.65.2
mkdir -p .build/bin .build/node_modules
rm -rf .build/node_modules/playwright-core
ln -sfn ../playwright/playwright/driver/node .build/bin/node
ln -sfn ../playwright/playwright/driver/package .build/node_modules/playwright-core
