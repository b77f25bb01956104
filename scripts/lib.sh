# What the scripts share: the checkout's own Python, the system's git and tmux, the real assistants for the tests.
# Sourced, never run. Talk goes to stderr, so that a script's stdout stays its result.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
CACHE=$ROOT/.cache
NODE=$CACHE/node/node_modules/.bin
# Name, package and version of the assistants that the tests run for real.
CLIS=(
    "claude @anthropic-ai/claude-code 2.1.328"
    "codex @openai/codex 0.169.0"
    "gemini @google/gemini-cli 0.61.0"
    "opencode opencode-ai 1.18.33"
    "tsc typescript 7.0.2"
)

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# Tests start a thousand daemons; compiling everything anew would double the start of each.
unset PYTHONDONTWRITEBYTECODE

say() { printf '== %s\n' "$*" >&2; }

# die MESSAGE HINT: what happened, and what to do about it.
die() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

# quietly COMMAND...: show its output only if it fails.
quietly() {
    local output
    output=$("$@" 2>&1 </dev/null) && return 0
    printf '%s\n' "$output" | tail -n 40 >&2
    return 1
}

# from_network COMMAND...: three tries, because downloads fail for reasons that pass.
from_network() {
    local try
    for try in 1 2 3; do
        quietly "$@" && return 0
        [ "$try" = 3 ] || { say "try $try failed, trying again: $1"; sleep $((try * 2)); }
    done
    return 1
}

# need_package PACKAGE WHY: install with apt as root, otherwise say what to install.
need_package() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$2" "Install $1 with your system's package manager, then run this again."
    fi
    if [ -z "${APT_UPDATED:-}" ]; then
        say "apt: reading package lists"
        from_network apt-get update || die "apt-get update failed" "See its output above."
        APT_UPDATED=1
    fi
    say "apt: installing $1"
    DEBIAN_FRONTEND=noninteractive from_network apt-get install -y --no-install-recommends "$1" ||
        die "apt could not install $1" "Install it by hand, then run this again."
}

# need_command COMMAND [PACKAGE]
need_command() {
    command -v "$1" >/dev/null || need_package "${2:-$1}" "$1 is not installed"
}

# Prints the first Python that runs, is new enough and can make environments.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

# After this .venv/bin comes first in PATH and envmgr is installed in it, editable. Does nothing when nothing changed.
need_python() {
    local wanted python
    cd "$ROOT"
    wanted=$({ echo "$ROOT"; cat requirements.txt pyproject.toml; } | cksum)
    if ! "$VENV/bin/python" -c '' 2>/dev/null || [ "$(cat "$VENV/stamp" 2>/dev/null)" != "$wanted" ]; then
        python=$(find_python) || {
            need_package python3-venv "no Python 3.11 or newer that can make environments"
            python=$(find_python) || die "this system's Python is older than 3.11" "Install Python 3.11 or newer."
        }
        say "python: installing the pinned packages into .venv ($("$python" --version))"
        quietly "$python" -m venv --clear "$VENV" || die "could not make $VENV" "See the output above."
        from_network "$VENV/bin/python" -m pip install --quiet -r requirements.txt ||
            die "pip could not install requirements.txt" "See its output above."
        quietly "$VENV/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e . ||
            die "pip could not install envmgr" "See its output above."
        echo "$wanted" >"$VENV/stamp"
    fi
    export PATH=$VENV/bin:$PATH
}

need_system() {
    need_command git
    need_command tmux
}

# cli_works PATH VERSION: some write into their home when they are asked for their version.
cli_works() {
    local said
    mkdir -p "$CACHE/home"
    said=$(HOME=$CACHE/home PATH=$NODE:$PATH "$1" --version 2>/dev/null </dev/null) || return 1
    [[ " $said " == *" $2 "* ]]
}

# need_clis: all of CLIS in .cache, downloaded once; tests run them without any account. ENVMGR_TEST_CLAUDE names another
# Claude Code of that version, and says where it is afterwards.
need_clis() {
    local cli name package version
    need_node
    for cli in "${CLIS[@]}"; do
        read -r name package version <<<"$cli"
        if [ "$name" = claude ] && [ -n "${ENVMGR_TEST_CLAUDE:-}" ]; then
            cli_works "$ENVMGR_TEST_CLAUDE" "$version" ||
                die "ENVMGR_TEST_CLAUDE is not $package $version: $ENVMGR_TEST_CLAUDE" "Unset it, then it is downloaded."
        else
            need_cli "$name" "$package" "$version"
        fi
        [ "$name" != opencode ] || need_opencode_config "$version"
    done
    export ENVMGR_TEST_CLAUDE=${ENVMGR_TEST_CLAUDE:-$CACHE/claude/node_modules/.bin/claude}
}

# need_opencode_config VERSION: what opencode downloads into each new home before it takes plugins; tests share one.
need_opencode_config() {
    local folder=$CACHE/opencode-config
    ! grep -qs "\"version\": \"$1\"" "$folder/node_modules/@opencode-ai/plugin/package.json" || return 0
    mkdir -p "$folder"
    say "npm: installing opencode's plugin interface $1 into .cache"
    PATH=$NODE:$PATH from_network npm install --no-audit --no-fund --ignore-scripts --save-exact --prefix "$folder" \
        "@opencode-ai/plugin@$1" || die "npm could not install opencode's plugin interface" "See its output above."
}

# With an older node npm silently takes older packages, so a fitting one comes first.
need_node() {
    [ ! -x "$NODE/node" ] || return 0
    need_command npm
    mkdir -p "$CACHE/node"
    say "npm: installing node 22 into .cache"
    from_network npm install --no-audit --no-fund --prefix "$CACHE/node" node@22 ||
        die "npm could not install node 22" "See its output above."
}

# need_cli NAME PACKAGE VERSION
need_cli() {
    local path=$CACHE/$1/node_modules/.bin/$1
    ! cli_works "$path" "$3" || return 0
    need_command npm
    mkdir -p "$CACHE/$1"
    say "npm: installing $2 $3 into .cache"
    PATH=$NODE:$PATH from_network npm install --no-audit --no-fund --prefix "$CACHE/$1" "$2@$3" ||
        die "npm could not install $2" "See its output above."
    cli_works "$path" "$3" || die "the installed $1 does not say version $3" "Delete .cache/$1, then run this again."
}

# Prints nothing and succeeds when an engine answers at DOCKER_HOST, or else at the default socket (no docker context).
engine_answers() {
    command -v docker >/dev/null && timeout 20 docker --context default version >/dev/null 2>&1
}

# After this a container engine answers: the one that runs, or else, as root, one of our own, which ends with the last
# script that uses it. A running engine is never touched otherwise.
need_docker() {
    ! engine_answers || return 0
    [ -z "${DOCKER_HOST:-}" ] || die "no container engine answers at $DOCKER_HOST" "Start it, or unset DOCKER_HOST."
    [ "$(id -u)" = 0 ] || die "no container engine answers" \
        "Start Docker so that you may use it, or run this as root: then it installs and starts one for itself."
    need_command flock
    command -v dockerd >/dev/null || need_package docker.io "Docker is not installed"
    command -v docker >/dev/null || need_package docker-cli "Docker's command line is not installed"
    engine_answers || own_engine # a package may have started one
}

OWN_NETWORKS=10.211.0.0/16
OWN_RULE=(FORWARD -s "$OWN_NETWORKS" -d "$OWN_NETWORKS" -j ACCEPT)

# own_engine: start dockerd, or join the one that another script of this checkout started; whoever ends last stops it.
# It leaves the rules, bridges and address pools of another engine alone. Images stay in .cache/docker.
own_engine() {
    # Short, because a socket's path has 108 bytes at most; of this checkout, so that scripts side by side meet.
    OWN_ENGINE=/run/envmgr-docker-$(printf %s "$ROOT" | cksum | cut -d ' ' -f 1)
    export DOCKER_HOST=unix://$OWN_ENGINE/docker.sock
    mkdir -p -m 700 "$OWN_ENGINE" "$CACHE/docker"
    # Who uses it holds `users`, shared; who starts or stops it holds `door`. A killed script lets go of both.
    exec 8>"$OWN_ENGINE/door" 9>"$OWN_ENGINE/users"
    flock 8
    flock -s 9
    trap leave_engine EXIT
    # Without these, bash would end by a signal and not run the trap.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    engine_answers || start_engine
    flock -u 8
}

start_engine() {
    local try old
    need_command ip iproute2
    old=$(cat "$OWN_ENGINE/pid" 2>/dev/null || true)
    if [ -n "$old" ] && tr '\0' ' ' <"/proc/$old/cmdline" 2>/dev/null | grep -F "$OWN_ENGINE/" >/dev/null; then
        die "the engine of this checkout runs as process $old and does not answer" "End it: kill $old, then run this again."
    fi
    rm -f "$OWN_ENGINE/pid" # a killed engine's number may be somebody else's by now, and dockerd would not start
    say "docker: starting an engine for this checkout"
    ip link show envmgr-own >/dev/null 2>&1 || ip link add name envmgr-own type bridge
    ip address replace 10.212.0.1/24 dev envmgr-own # a killed script may have left it there
    ip link set envmgr-own up
    # Where another engine or a firewall forwards nothing by default, our containers still reach each other.
    iptables -w -C "${OWN_RULE[@]}" 2>/dev/null || iptables -w -I "${OWN_RULE[@]}"
    echo '{}' >"$OWN_ENGINE/daemon.json" # not the system's settings
    # An engine with address pools of its own that remembers a default network removes docker0, whosever that is.
    rm -rf "$CACHE/docker/network"
    # A session of its own, so that Ctrl-C reaches the tests first and the engine at the end.
    setsid dockerd --host "$DOCKER_HOST" --data-root "$CACHE/docker" --exec-root "$OWN_ENGINE/exec" \
        --pidfile "$OWN_ENGINE/pid" --config-file "$OWN_ENGINE/daemon.json" --bridge envmgr-own \
        --default-address-pool "base=$OWN_NETWORKS,size=26" --iptables=false --ip6tables=false \
        --containerd-namespace envmgr-own --containerd-plugins-namespace envmgr-own-plugins \
        >"$CACHE/docker.log" 2>&1 </dev/null 8>&- 9>&- &
    for try in $(seq 300); do
        ! engine_answers || { empty_engine; return 0; }
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$CACHE/docker.log" >&2
    die "dockerd did not start" "See the end of its log above; all of it is in .cache/docker.log."
}

# Removes what a killed run left in our own engine, all but the images; a network would outlive it as a bridge.
empty_engine() {
    docker ps --all --quiet | xargs -r docker rm --force --volumes >/dev/null
    docker network prune --force >/dev/null
    docker volume ls --quiet | xargs -r docker volume rm --force >/dev/null
}

# The last one out stops the engine.
leave_engine() {
    local pid try
    trap '' HUP INT TERM
    flock 8
    if flock -n -x 9; then
        pid=$(cat "$OWN_ENGINE/pid" 2>/dev/null || true)
        if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
            say "docker: stopping the engine of this checkout"
            timeout 60 bash -c "$(declare -f empty_engine); empty_engine" || true
            kill -TERM "$pid"
            for try in $(seq 300); do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.1
            done
            kill -KILL "$pid" 2>/dev/null || true
        fi
        ip link delete envmgr-own 2>/dev/null || true
        iptables -w -D "${OWN_RULE[@]}" 2>/dev/null || true
    fi
    flock -u 8
}

# need_postgres: the server's programs; Debian keeps them out of PATH, beside each other by version.
need_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ||
        need_package postgresql "PostgreSQL is not installed"
}

# need_images: an engine and the images of the tests in it.
need_images() {
    need_docker
    "$ROOT/scripts/images"
}

# outside COMMAND...: run it without the locks of our own engine, which must end with this shell and not with a child.
outside() { "$@" 8>&- 9>&-; }

# finish COMMAND...: the script's last command and status; this shell stays only where it has to stop an engine.
finish() {
    [ -n "${OWN_ENGINE:-}" ] || exec "$@"
    outside "$@"
}
