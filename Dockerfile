# The image of every godwit container; docker/entry.sh says what each of them runs.
# BASE needs Node 24 and either apt-get, to install iproute2 and libcap2-bin, or both of them in it.
ARG BASE=node:24-bookworm-slim

# The packages change seldom: a stage of their own keeps them in the builder's cache.
FROM ${BASE} AS packages
WORKDIR /opt/godwit
# docker/packages is there only after docker/collect-packages.ts, for builders without an npm registry.
COPY package.json package-lock.json .npmrc docker/packages* ./
# Without install scripts: the only one that matters fetches a Node, and the base has one.
RUN test -d node_modules || npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error

FROM ${BASE}
# Two programs carry one capability each, and run only in a container to which docker-compose.yml grants it:
# godwit-net starts the host process with NET_ADMIN, godwit-claim gives a mounted results folder to its user.
RUN { command -v tc && command -v setcap; } > /dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends iproute2 libcap2-bin \
    && rm -rf /var/lib/apt/lists/*; } \
    && cp "$(command -v setpriv)" /usr/local/bin/godwit-net \
    && cp "$(command -v chown)" /usr/local/bin/godwit-claim \
    && setcap cap_net_admin+ep /usr/local/bin/godwit-net \
    && setcap cap_chown+ep /usr/local/bin/godwit-claim \
    && ln -s /opt/godwit/cli/godwit.mjs /usr/local/bin/godwit \
    && install -d -o 1000 -g 1000 /var/lib/godwit /opt/godwit/results
WORKDIR /opt/godwit
COPY --from=packages /opt/godwit/node_modules node_modules
COPY . .
# What Node compiles stays for the threads that start later (docs/performance.md).
ENV NODE_ENV=production HOME=/tmp NODE_COMPILE_CACHE=/tmp/godwit-compiled
USER 1000:1000
ENTRYPOINT ["/opt/godwit/docker/entry.sh"]
CMD ["godwit", "--help"]
