#!/usr/bin/env bash
# A cluster on this machine, of containers: deploy/cluster.sh up|demo|down. `make cluster-up` and the like call it.
#   RUNNER_ROOT (default .cluster), NODES (2), BASE (an image with Python, for the image of the demonstration's job), JOB_IMAGE (instead),
#   RUNNER_GATEWAY_PORT (6380), RUNNER_PROJECT (runner), RUNNER_BIN (.venv/bin)
set -euo pipefail
cd "$(dirname "$0")/.."
export RUNNER_ROOT=${RUNNER_ROOT:-$PWD/.cluster}
export RUNNER_ETC=${RUNNER_ETC:-$RUNNER_ROOT/etc}
export RUNNER_GATEWAY_PORT=${RUNNER_GATEWAY_PORT:-6380}
RUNNER_IMAGE=${RUNNER_IMAGE:-runner-node:$(sed -n 's/^VERSION = "\(.*\)"/\1/p' runner/version.py)}
export RUNNER_IMAGE
bin=${RUNNER_BIN:-.venv/bin}

compose() {
    local command=(docker compose)
    docker compose version >/dev/null 2>&1 || command=(docker-compose)
    command -v "${command[0]}" >/dev/null || {
        echo 'cluster.sh: needs docker compose, or docker-compose (Debian: apt-get install docker-compose)' >&2
        exit 1
    }
    "${command[@]}" --project-name "${RUNNER_PROJECT:-runner}" --file deploy/compose.yml "$@"
}

make_folders() {
    mkdir -p "$RUNNER_ROOT"/{workspace,data,local,client} "$RUNNER_ETC"
    chmod 1777 "$RUNNER_ROOT/data" "$RUNNER_ROOT/local"
    [[ -e $RUNNER_ROOT/workspace/workspace.yml ]] || cat >"$RUNNER_ROOT/workspace/workspace.yml" <<END
datastores: {shared: {type: local, path: $RUNNER_ROOT/data, shared: true}}
default_datastore: shared
instance_types: {small: {cpus: 2, memory: 1GB}}
END
    [[ -e $RUNNER_ROOT/client/workspace.yml ]] || cat >"$RUNNER_ROOT/client/workspace.yml" <<END
datastores: {shared: {type: local, path: $RUNNER_ROOT/data, shared: true}}
default_datastore: shared
computes: {cluster: {type: ray, address: "localhost:$RUNNER_GATEWAY_PORT", token_file: $RUNNER_ETC/submit.token}}
default_compute: cluster
instance_types: {small: {cpus: 2, memory: 1GB}}
END
}

up() {
    make_folders
    local count there
    there=$(compose ps -q node | wc -l)
    ((there)) || there=1
    compose up --detach --no-recreate --scale "node=$there" head node # what runs there goes on; after `down`, with a new image
    wait_for_nodes
    # One after the other: Ray nodes that start at once on one machine may fail to register.
    for ((count = there + 1; count <= ${NODES:-2}; count++)); do
        compose up --detach --no-recreate --scale "node=$count" head node
        wait_for_nodes
    done
    compose ps
    echo "the gateway is at localhost:$RUNNER_GATEWAY_PORT, its token in $RUNNER_ETC/submit.token; a workspace for it: $RUNNER_ROOT/client"
}

wait_for_nodes() {
    local end=$((SECONDS + 90)) container
    for container in $(compose ps -q node); do
        until docker exec "$container" runner cluster status >/dev/null; do
            ((SECONDS < end)) || { echo "cluster.sh: a node does not come up: docker logs $container" >&2; exit 1; }
            sleep 0.5
        done
    done
}

demo() {
    [[ -e $RUNNER_ETC/submit.token ]] || { echo 'cluster.sh: there is no cluster; make cluster-up' >&2; exit 1; }
    local image=${JOB_IMAGE:-runner-demo:latest} files=$RUNNER_ROOT/data/examples
    if [[ -z ${JOB_IMAGE:-} ]]; then
        "$bin/python" deploy/bundle.py image --base "${BASE:-python:3.11-slim}" --tag "$image" --requirements 'numpy pillow'
    fi
    # What a job reads must lie where the nodes see it.
    mkdir -p "$files"
    cp -r examples/digits "$files/"
    "$bin/python" examples/digits/train.py "$files/data/digits"
    "$bin/runner" job create --workspace "$RUNNER_ROOT/client" -f "$files/digits/job.yml" --stream \
        --set compute=cluster --set resources.instance_type=small --set "resources.instance_count=${NODES:-2}" --set "task.environment.image=$image"
}

down() {
    compose down --timeout 40
    echo "cluster.sh: data and tokens are still in $RUNNER_ROOT"
}

case ${1:-} in
up | demo | down) "$1" ;;
*) sed -n 2,4p "$0" && exit 2 ;;
esac
