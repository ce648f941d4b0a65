#!/bin/sh
# Start an executor: start-executor.sh "Infrastructure Jr." taskdb [more options of `executor run`]
# Waiting for the database, migrating and refusing a second worker of the same id are the program's own business; this
# script only keeps names with spaces whole, and execs, so that the process id stays and signals arrive.
set -eu
if [ "$#" -lt 2 ]; then
    echo "usage: $0 ASSIGNEE SERVICE [OPTION ...]   (SERVICE is a section of pg_service.conf)" >&2
    exit 2
fi
assignee=$1 service=$2
shift 2
exec "${DBSAFETY_PYTHON:-python3}" -m dbsafety_runtime executor --dsn-service "$service" run --assignee "$assignee" "$@"
