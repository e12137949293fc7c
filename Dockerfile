# The program is one static binary; the image adds certificate authorities, for key
# sets, relays, push services and traces over TLS, and nothing else that would need updates.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/falconbridge ./cmd/falconbridge \
 && mkdir /out/data /out/tmp && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/falconbridge /usr/bin/falconbridge
COPY --from=build /out/tmp /tmp
# Owned by the user, so that a new volume here can be written.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV FALCON_DATA_DIR=/data
VOLUME /data
# REST, pages and MQTT over WebSocket; MQTT over TCP. The admin listener stays on
# the container's own loopback.
EXPOSE 8080 1883
# Liveness, not readiness: a container that waits for its database is not helped by a restart.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["/usr/bin/falconbridge", "healthcheck", "--live"]
ENTRYPOINT ["/usr/bin/falconbridge"]
CMD ["serve"]
