#!/bin/sh
# What a container of godwit runs: `coordinator`, `host`, `runner` (see docker-compose.yml), or any command.
set -eu
coordinator=coordinator:7070

case ${1:-} in
  coordinator)
    exec node coordinator/main.ts --listen 0.0.0.0:7070 --state /var/lib/godwit/state.sqlite
    ;;
  host)
    shift
    arguments=$(node docker/host-arguments.ts)
    # NET_ADMIN as an ambient capability, so that the tc and ip which the host starts have it as well.
    # The arguments are words without blanks.
    # shellcheck disable=SC2086
    exec godwit-net --inh-caps=+net_admin --ambient-caps=+net_admin \
      node hosts/main.ts $arguments --coordinator "$coordinator" --listen 0.0.0.0:7071 --data-listen 0.0.0.0 "$@"
    ;;
  runner)
    # Docker gives a folder that it makes to root; any other owner is left alone.
    if [ ! -w results ] && [ "$(stat -c %u results)" = 0 ]; then
      godwit-claim "$(id -u):$(id -g)" results
    fi
    if [ ! -w results ]; then
      echo "godwit: the mounted results folder belongs to user $(stat -c %u:%g results), and this container runs as" \
        "$(id -u):$(id -g); set GODWIT_USER=$(stat -c %u:%g results) in .env" >&2
      exit 2
    fi
    spec=experiments/${GODWIT_SPEC%.yaml}.yaml
    node docker/wait-for-hosts.ts "$spec" "$coordinator"
    exec node cli/godwit.mjs run "$spec" --coordinator "$coordinator"
    ;;
  *)
    exec "$@"
    ;;
esac
