#!/usr/bin/env bash
# Set up what this repository needs: Debian's redis-server and python3-venv, and the virtual environment .venv.
# Usage: ops/setup.sh run|dev     run = what `make run` needs; dev = tests, linters and benchmarks besides
# Says in one line what it installs; where it may not install, says what to install and ends with 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly WHAT=${1:-dev}
case $WHAT in
  run | dev) ;;
  -h | --help) sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "setup: '$WHAT' is not one of: run, dev" >&2; exit 1 ;;
esac

fail() { echo "setup: $*" >&2; exit 1; }

# Run a command without its chatter; show it all where the command fails. Usage: quietly MESSAGE COMMAND…
quietly() {
  local message=$1 output
  shift
  if ! output=$("$@" 2>&1); then
    echo "$output" >&2
    fail "$message"
  fi
}

# A daemon that runs as another user needs Debian's own interpreter, not one under somebody's home.
python_for_venv() {
  local candidate
  for candidate in /usr/bin/python3 "$(command -v python3 || true)"; do
    if [ -x "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

redis_is_new_enough() {
  local version
  version=$(redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 7 ]
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

missing=()
redis_is_new_enough || missing+=(redis-server)
python_for_venv >/dev/null || missing+=(python3 python3-venv)
if [ "$WHAT" = dev ]; then
  command -v shellcheck >/dev/null || missing+=(shellcheck)
  # The units are verified, and where this is root booted, by a systemd of the tests' own; without it they are skipped.
  if ! command -v systemd-analyze >/dev/null && can_install; then missing+=(systemd); fi
  if ! command -v ip >/dev/null && can_install; then missing+=(iproute2); fi
  # The compiled core of MarketState is optional: tested and measured where it can be built.
  if ! command -v gcc >/dev/null && can_install; then missing+=(gcc libc6-dev); fi
fi

if [ ${#missing[@]} -gt 0 ]; then
  if ! can_install; then
    fail "please install (Debian names): ${missing[*]} — then run this again"
  fi
  echo "setup: installing ${missing[*]} with apt-get"
  # The package would start a server on the default port; the suite starts its own on a free one.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  quietly "apt-get could not install: ${missing[*]}" apt-get update -qq
  quietly "apt-get could not install: ${missing[*]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
  redis_is_new_enough || fail "redis-server 7.0 or newer is needed; this machine's is $(redis-server --version)"
fi

# Alerts are tried in a real Prometheus: tests of their own, which are skipped where it is not to be had.
monitoring=()
if [ "$WHAT" = dev ] && can_install; then
  for tool in prometheus prometheus-alertmanager prometheus-redis-exporter; do
    command -v "$tool" >/dev/null || monitoring+=("$tool")
  done
fi
if [ ${#monitoring[@]} -gt 0 ]; then
  echo "setup: installing ${monitoring[*]} with apt-get"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  if { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${monitoring[@]}"; } >/dev/null 2>&1; then
    # The packages would have their servers started at the next boot: whoever wants that says so (docs/monitoring.md).
    if command -v systemctl >/dev/null; then systemctl --quiet disable "${monitoring[@]}" >/dev/null 2>&1 || true; fi
  else
    echo "setup: could not install ${monitoring[*]}: going on, the tests that need them are skipped"
  fi
fi

python=$(python_for_venv) || fail "Python 3.11 or newer with venv is needed"
# What is installed hangs on these, and on whether there is a compiler.
inputs=$({ cat pyproject.toml setup.py ai_engine/*.c; command -v gcc || true; } | sha256sum | cut -c1-16)
stamp=".venv/ready-$WHAT-$inputs"
full=".venv/ready-dev-$inputs"
if [ -e "$stamp" ] || [ -e "$full" ]; then
  exit 0
fi
echo "setup: making .venv ($WHAT) with $python"
[ -x .venv/bin/python ] || "$python" -m venv .venv
quietly "pip could not install the project's dependencies" \
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$WHAT]"
touch "$stamp"
