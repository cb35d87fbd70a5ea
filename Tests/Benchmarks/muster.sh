# The contestant `muster` for the outside harness: to be read by its peers.sh, see README.md.
# The node's side is under $STAGE, the coordinator's catalog too; the store is all that is under $REPO.

MUSTER=${BIN_MUSTER:-muster}
export MUSTER_CONTEXT=$STAGE/context.json
MUSTER_AGENT=$STAGE/agent MUSTER_PORT=7820

muster_up() {
    "$MUSTER" coordinator init --dir "$STAGE/coordinator" --listen "127.0.0.1:$MUSTER_PORT" --store "$REPO/store"
    spawn "$MUSTER" coordinator run --dir "$STAGE/coordinator"
    port "$MUSTER_PORT"
    "$MUSTER" agent join --dir "$MUSTER_AGENT" "$("$MUSTER" node invite bench)"
    # Last: the harness kills the one that was started last.
    spawn "$MUSTER" agent run --dir "$MUSTER_AGENT"
}

# The first snapshot of a database is taken as soon as the agent knows of it: from there until the receipt is in the
# store. Looking into the store costs next to nothing, where asking the coordinator again and again would be measured.
muster_full() {
    if [ -e "$STAGE/added" ]; then
        muster_incr
        return
    fi
    "$MUSTER" database add --dir "$MUSTER_AGENT" "$DB" --name live --every 24h
    touch "$STAGE/added"
    until [ -n "$(find "$REPO/store/receipts" -type f -print -quit 2>/dev/null)" ]; do sleep 0.02; done
}

muster_incr() { "$MUSTER" snapshot create --wait; }

# Without integrity_check, which no other contestant runs; every id, seal, hash and the root are checked.
# MUSTER_RESTORE=--integrity-check measures it too.
muster_restore() {
    rm -f "$OUT"
    "$MUSTER" restore --node bench --database live ${AT:+--at "$AT"} --agent-dir "$MUSTER_AGENT" --to "$OUT" \
        ${MUSTER_RESTORE:---no-integrity-check}
}

muster_newest() { "$MUSTER" snapshot list --limit 1 --format json | grep -o '"id" *: *"[0-9a-f-]*"' | head -n 1 | cut -d '"' -f 4; }
muster_verify() { "$MUSTER" verify "$(muster_newest)" --level scrub --wait; }
