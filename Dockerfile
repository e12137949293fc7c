# The program is one static binary. The image adds only certificate authorities (for key sets,
# relays, push services and traces over TLS), so that nothing else in it needs updates.
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
# Owned by the user, so that a new volume mounted here is writable.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV FALCON_DATA_DIR=/data
VOLUME /data
# 8080: REST, pages and MQTT over WebSocket; 1883: MQTT over TCP. The admin listener stays on
# the container's loopback.
EXPOSE 8080 1883
# Liveness, not readiness: restarting a container does not help while its database is unavailable.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["/usr/bin/falconbridge", "healthcheck", "--live"]
ENTRYPOINT ["/usr/bin/falconbridge"]
CMD ["serve"]
