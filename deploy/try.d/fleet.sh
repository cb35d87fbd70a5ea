# What the demonstrations share: a fleet on this machine that ends with the script. To be read by bash's `source`.
# Sets fleet (a new folder), context and clean-up; wants $checkout, and $keep ('yes' leaves the folder).

stage() { printf '\n== %s\n\n' "$*"; }
say() { printf -- '-- %s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Prints the usage that the script $1 begins with.
usage() { sed -n '2,/^set/{/^#/p}' "$1" >&2; }

# Sets binary: the one that was given, else the one built here.
build() {
    "$checkout/deploy/install-packages"
    if [[ -z $binary ]]; then
        (cd "$checkout" && swift build -c release --product muster)
        binary=$checkout/.build/release/muster
    fi
}

pids=()
before_removal=: # what must be done before the folder can be removed

# Stops what the script started, by process id, and nothing else.
clean_up() {
    local code=$? pid log
    trap - EXIT
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if ((code != 0)); then
        for log in "$fleet"/*.log; do
            [[ -s $log ]] && printf '\n-- the end of %s\n' "$log" && tail -n 5 "$log"
        done >&2
    fi
    if [[ -n $before_removal ]]; then "$before_removal"; fi
    if [[ $keep == yes ]]; then echo "the fleet is left in $fleet"; else rm -rf "$fleet"; fi
    exit "$code"
}

# Makes the fleet's folder, and has it removed at the end.
make_fleet() {
    fleet=$(mktemp --directory "${TMPDIR:-/tmp}/muster-try.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    # The admin's context, and all else that is kept for each user, stay inside the folder.
    export MUSTER_CONTEXT=$fleet/context.json HOME=$fleet
    unset XDG_CONFIG_HOME
    mkdir "$fleet/restored"
}

muster() { "$binary" "$@"; }
writer=(/usr/bin/python3 "$checkout/deploy/try.d/writer.py")
damage() { /usr/bin/python3 "$checkout/deploy/try.d/damage.py" "$@"; }
# The value of a Python expression on the JSON document of standard input, named `it`.
json() { /usr/bin/python3 -c "import json, sys; it = json.load(sys.stdin); print($1)"; }

# Prints a port that is free together with the $1 - 1 next ones.
free_ports() {
    /usr/bin/python3 - "$1" <<'PYTHON'
import contextlib, socket, sys
count = int(sys.argv[1])
for _ in range(100):
    try:
        with contextlib.ExitStack() as all:
            first = all.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            for other in range(port + 1, port + count):
                all.enter_context(socket.socket()).bind(("127.0.0.1", other))
            print(port)
            sys.exit()
    except (OSError, OverflowError):
        pass
sys.exit("no free ports")
PYTHON
}

start() { # LOG COMMAND...: in the background, until the script ends; sets started
    local log=$1
    shift
    "$@" >>"$fleet/$log.log" 2>&1 &
    started=$!
    pids+=("$started")
}

stop() { # PID [SIGNAL]: ends one that was started, and waits for it
    local pid left=()
    kill "-${2:-TERM}" "$1"
    wait "$1" 2>/dev/null || true
    for pid in "${pids[@]}"; do [[ $pid == "$1" ]] || left+=("$pid"); done
    pids=("${left[@]}")
}

# Shows a command and what it prints, and holds it to its exit code, or to one of several: '1|2'.
shown() { # CODE COMMAND...
    local wanted=$1 code=0
    shift
    printf '$ %s\n' "${*//$fleet/DIR}"
    "$@" >"$fleet/output" 2>&1 || code=$?
    sed "s|$fleet|DIR|g; s/^/    /" "$fleet/output"
    [[ $code =~ ^($wanted)$ ]] || fail "'$*' ended with $code, not $wanted"
    if ((code != 0)); then say "exit code $code, as it should be"; fi
    echo
}

await() { # SECONDS WHAT COMMAND...: until the command succeeds
    local deadline=$((SECONDS + $1)) limit=$1 what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            muster status >&2 || true
            fail "$what: not within $limit seconds"
        fi
        sleep 0.2
    done
}

# Adds a node with a database that an application writes to, and its agent.
add_node() { # NODE JOURNAL PAGE_SIZE
    local node=$1 token
    mkdir -p "$fleet/$node"
    "${writer[@]}" make "$fleet/$node/shop.db" --journal "$2" --page-size "$3"
    start "$node-writer" "${writer[@]}" write "$fleet/$node/shop.db"
    token=$(muster node invite "$node" 2>>"$fleet/invite.log")
    shown 0 muster agent join --dir "$fleet/$node/agent" "$token" | sed "s/$token/TOKEN/"
    shown 0 muster database add --dir "$fleet/$node/agent" "$fleet/$node/shop.db" --every 1h
    start "$node-agent" "$binary" agent run --dir "$fleet/$node/agent"
}

# True if every database of $1 nodes has a snapshot: an agent takes the first one at once.
first_taken() {
    [[ $(muster status --format json | json 'sum(bool(it["newest_snapshot_id"]) for it in it["databases"])') == "$1" ]]
}

# True if no snapshot has fewer than $1 replicas, and there is one.
has_replicas() {
    muster snapshot list --format json --limit 1000 | json "1 / (it != [] and min(
        sum(r['state'] == 'present' for r in s['replicas']) for s in it) >= $1)"
}

# Prints the id of the newest snapshot of node $1 with the label $2.
snapshot_of() { muster snapshot list --node "$1" --label "$2" --format json | json 'it[0]["id"]'; }

# Snapshots all nodes with the label $1, and notes in before, after and id what must be in them.
declare -A before after id
back_up() { # LABEL
    local node
    for node in "${nodes[@]}"; do before[$node]=$("${writer[@]}" top "$fleet/$node/shop.db"); done
    shown 0 muster snapshot create --label "$1" --wait
    for node in "${nodes[@]}"; do after[$node]=$("${writer[@]}" top "$fleet/$node/shop.db"); done
    for node in "${nodes[@]}"; do id[$node]=$(snapshot_of "$node" "$1"); done
}

# Holds a restored file of a node to what its application had written when the snapshot was taken.
check_restored() { # NODE FILE
    local node=$1 file=$2
    [[ $(sqlite3 "$file" 'PRAGMA integrity_check') == ok ]] || fail "integrity_check of $file is not ok"
    say "$node: $("${writer[@]}" check "$file" --from "${before[$node]}" --to "${after[$node]}")"
}

# Fails if one that was started has ended by itself.
all_alive() {
    local pid
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || fail "process $pid of the fleet has ended by itself"
    done
}
