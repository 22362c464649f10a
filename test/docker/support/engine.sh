#!/bin/sh
# What runs within the engine's own namespaces: `engine.sh FOLDER NAME`. The network outside ends at a bridge that leads
# nowhere; a swarm needs an address to announce.
set -eu
ip link set lo up
ip link add outside type bridge
ip address add 10.213.0.1/24 dev outside
ip link set outside up
# The engine keeps sockets there which would stay.
mount -t tmpfs tmpfs /run
echo '{}' > "$1/daemon.json"
# As process 1 an init that reaps what containers leave behind.
exec docker-init -- dockerd --config-file "$1/daemon.json" --data-root "$1/data" --exec-root "$1/exec" \
  --pidfile "$1/dockerd.pid" --host "unix://$1/docker.sock" --iptables=true \
  --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2"
