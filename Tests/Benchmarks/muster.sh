# The contestant `muster` for the outside harness: to be read by its peers.sh, see README.md.
# The node's side is under $STAGE, the coordinator's catalog too; the store is all that is under $REPO.

MUSTER=${BIN_MUSTER:-muster}
export MUSTER_CONTEXT=$STAGE/context.json
MUSTER_AGENT=$STAGE/agent MUSTER_PORT=7820

muster_up() {
    mkdir -p "$STAGE" "$REPO"
    "$MUSTER" coordinator init --dir "$STAGE/coordinator" --listen "127.0.0.1:$MUSTER_PORT" --store "$REPO/store"
    spawn "$MUSTER" coordinator run --dir "$STAGE/coordinator"
    port "$MUSTER_PORT"
    "$MUSTER" agent join --dir "$MUSTER_AGENT" "$("$MUSTER" node invite bench)"
    "$MUSTER" database add --dir "$MUSTER_AGENT" "$DB" --name live --every 24h
    # Last: the harness kills the one that was started last.
    spawn "$MUSTER" agent run --dir "$MUSTER_AGENT"
    muster_reported
}

# Waits until the agent has told the coordinator of the database, so that a snapshot can be asked for.
muster_reported() {
    local try
    for ((try = 0; try < 300; try++)); do
        "$MUSTER" status --format json | grep -q '"live"' && return
        sleep 0.1
    done
    return 1
}

muster_snapshot_id() { "$MUSTER" snapshot list --limit 1 --format json | grep -o '"id" *: *"[0-9a-f-]*"' | head -n 1 | cut -d '"' -f 4; }

muster_full() { "$MUSTER" snapshot create --wait; }
muster_incr() { muster_full; }
muster_restore() {
    rm -f "$OUT"
    "$MUSTER" restore --node bench --database live ${AT:+--at "$AT"} --agent-dir "$MUSTER_AGENT" --to "$OUT"
}
muster_verify() { "$MUSTER" verify "$(muster_snapshot_id)" --level scrub --wait; }
