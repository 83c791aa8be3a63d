# evenkeel in a container: docker build -t evenkeel . && docker run -v ./evenkeel.yaml:/etc/evenkeel/evenkeel.yaml -p 8080:8080 evenkeel
# test/dockerfile.test.ts runs these steps without a container engine.

# Any image with Node 26.10 or newer, npm and glibc.
ARG NODE_IMAGE=node:26-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY .npmrc package.json package-lock.json ./
COPY tools ./tools
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /dependencies
COPY .npmrc package.json package-lock.json ./
COPY tools ./tools
RUN npm ci --omit=dev

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=dependencies /dependencies/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY bin ./bin

# What the embedded registry keeps; relative paths of a document's `data` start here.
WORKDIR /var/lib/evenkeel
RUN chown 1000:1000 .

# By number, so that an orchestrator can see that it is not root.
USER 1000:1000

# 8080 is the port of the documentation's listeners. The admin API listens on the container's own loopback unless the document
# says otherwise, so 9900 answers from outside only with `admin.bind: 0.0.0.0:9900` and a token.
EXPOSE 8080 9900

# EVENKEEL_ADMIN names the admin address when the document moves it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch(`http://${process.env.EVENKEEL_ADMIN || '127.0.0.1:9900'}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# The program is process 1 and gets the signal itself: SIGTERM drains. Give it longer than `runtime.drain` (docker stop -t 40).
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/app/bin/evenkeel.js"]
CMD ["run", "-c", "/etc/evenkeel/evenkeel.yaml"]
