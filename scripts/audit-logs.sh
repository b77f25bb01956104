#!/usr/bin/env bash
# Who asked envmgr for what, and what came of it: `scripts/audit-logs.sh --last 1h`. All options are those of `envmgr audit`.
set -euo pipefail
exec "${ENVMGR:-envmgr}" audit "$@"
