# shellcheck shell=bash disable=SC2154
# The contestants `muster`, `mustercold` and `musteropen` for the outside harness: read by its peers.sh, see README.md.
# The node's side is under $STAGE, the coordinator's catalog too; the store is all that is under $REPO.

MUSTER=${BIN_MUSTER:-muster}
export MUSTER_CONTEXT=$STAGE/context.json
MUSTER_AGENT=$STAGE/agent MUSTER_PORT=7820

# Words that start agent and coordinator: MUSTER_PRIORITY is split on purpose.
# shellcheck disable=SC2086
muster_spawn() { spawn ${MUSTER_PRIORITY:-} "$MUSTER" "$@"; }

muster_up() {
    "$MUSTER" coordinator init --dir "$STAGE/coordinator" --listen "127.0.0.1:$MUSTER_PORT" --store "$REPO/store"
    muster_spawn coordinator run --dir "$STAGE/coordinator"
    port "$MUSTER_PORT"
    "$MUSTER" agent join --dir "$MUSTER_AGENT" "$("$MUSTER" node invite bench)"
    [ -z "${MUSTER_SETTINGS:-}" ] || echo "$MUSTER_SETTINGS" >>"$MUSTER_AGENT/agent.yaml"
    muster_spawn agent run --dir "$MUSTER_AGENT"
    # The agent itself is the child of what was started: its CPU and memory count too. Last in the list is what the
    # harness kills, and the agent dies with it.
    until [ -s "$MUSTER_AGENT/agent.lock" ]; do sleep 0.02; done
    local supervisor
    supervisor=$(tail -n 1 "$PIDS")
    sed -i '$d' "$PIDS"
    { cat "$MUSTER_AGENT/agent.lock"; echo "$supervisor"; } >>"$PIDS"
}

# The first snapshot of a database is taken as soon as the agent knows of it: from there until the receipt is in the
# store. Looking into the store costs next to nothing, where asking the coordinator again and again would be measured.
muster_full() {
    if [ -e "$STAGE/added" ]; then
        muster_incr
        return
    fi
    "$MUSTER" database add --dir "$MUSTER_AGENT" "$DB" --name live --every "${MUSTER_EVERY:-24h}" --jitter 0s
    touch "$STAGE/added"
    until [ -n "$(find "$REPO/store/receipts" -type f -print -quit 2>/dev/null)" ]; do sleep 0.02; done
}

muster_incr() { "$MUSTER" snapshot create --wait; }

# Without integrity_check, which no other contestant runs; every id, seal, hash and the root are checked.
# MUSTER_RESTORE=--integrity-check measures it too.
muster_restore() {
    rm -f "$OUT"
    "$MUSTER" restore --node bench --database live ${AT:+--at "$AT"} --agent-dir "$MUSTER_AGENT" --to "$OUT" \
        "${MUSTER_RESTORE:---no-integrity-check}"
}

muster_newest() {
    "$MUSTER" snapshot list --limit 1 --format json | grep -o '"id" *: *"[0-9a-f-]*"' | head -n 1 | cut -d '"' -f 4
}
muster_verify() { "$MUSTER" verify "$(muster_newest)" --level scrub --wait; }

# No packs are kept on the node, so no differences can be sent.
mustercold_up() { MUSTER_SETTINGS="cache_bytes: 0" muster_up; }
mustercold_full() { muster_full; }
mustercold_incr() { muster_incr; }
mustercold_restore() { muster_restore; }
mustercold_verify() { muster_verify; }

# The harness opens the database for each change and closes it; applications keep it open. Beside one that does
# nothing else the agent follows the changes and need not look through the file.
musteropen_up() {
    spawn python3 -c 'import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
time.sleep(86400)' "$DB"
    muster_up
}
musteropen_full() { muster_full; }
musteropen_incr() { muster_incr; }
musteropen_restore() { muster_restore; }
musteropen_verify() { muster_verify; }
