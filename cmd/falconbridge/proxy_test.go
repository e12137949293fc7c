package main

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// proxied returns the PROXY protocol header for a connection from that IPv4 address.
func proxied(from string) []byte {
	a := netip.MustParseAddr(from).As4()
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	b = append(append(b, a[:]...), 127, 0, 0, 1)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 4711), 1883)
}

// addresses returns the addresses of user 1's devices, by client id.
func addresses(t *testing.T, admin caller, want int) map[string]string {
	t.Helper()
	found := make(map[string]string)
	testserver.Eventually(t, 10*time.Second, func() error {
		var answer []struct {
			ClientID string `json:"client_id"`
			Remote   string `json:"remote"`
		}
		admin.do(t, "GET", "/admin/connections", nil, 200, &answer)
		for _, c := range answer {
			host, _, err := net.SplitHostPort(c.Remote)
			if err != nil {
				host = c.Remote
			}
			found[c.ClientID] = host
		}
		if len(found) < want {
			return fmt.Errorf("connected are %v", answer)
		}
		return nil
	})
	return found
}

func TestATrustedProxyForwardsItsClientsAddresses(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key,
		"--trusted-proxies=127.0.0.1,10.0.0.0/8", "--connect-rate-per-ip=1/h", "--connect-rate-per-user=off", "--request-rate-per-ip=1/h")
	for _, version := range []byte{4, 5} {
		id := fmt.Sprint(version)
		plain := dial(t, p.MQTT)
		write(t, plain, append(proxied("198.51.100.1"+id), connectPacket(version, "tcp"+id, sign(t, "1", 0))...))
		under := dial(t, mqtts)
		write(t, under, proxied("198.51.100.2"+id))
		secure := tls.Client(under, f.Trust(t))
		write(t, secure, connectPacket(version, "tls"+id, sign(t, "1", 0)))
		web := tls.Client(dial(t, strings.TrimPrefix(p.HTTP, "http://")), f.Trust(t))
		upgrade(t, web, "X-Forwarded-For: 10.9.9.9, 198.51.100.3"+id+", 10.1.1.1")
		write(t, web, framed(connectPacket(version, "ws"+id, sign(t, "1", 0))))
		for name, nc := range map[string]net.Conn{"tcp": plain, "tls": secure} {
			if code, err := connack(nc); err != nil || code != 0 {
				t.Fatalf("%s, MQTT %d: code %d, %v", name, version, code, err)
			}
		}
	}
	client := caller{base: strings.Replace(p.HTTP, "http://", "https://", 1), client: httpsClient(t, f)}
	admin := client
	admin.token = sign(t, "root", bridge.ScopeAdmin)
	for id, address := range addresses(t, admin, 6) {
		want := map[byte]string{'c': "198.51.100.1", 'l': "198.51.100.2", 's': "198.51.100.3"}[id[1]] + id[len(id)-1:]
		if address != want {
			t.Errorf("%s comes from %s, want %s", id, address, want)
		}
	}
	// The limits use it, too: one login of each address.
	for address, want := range map[string]int{"198.51.100.14": 3, "198.51.100.25": 3, "198.51.100.9": 0} {
		nc := dial(t, p.MQTT)
		write(t, nc, append(proxied(address), connectPacket(4, "more", sign(t, "2", 0))...))
		if code, err := connack(nc); err != nil || code != want {
			t.Errorf("a login of %s: code %d, %v", address, code, err)
		}
	}
	for address, want := range map[string]int{"198.51.100.14": 3, "198.51.100.8": 0} { // as nginx sends it
		nc := dial(t, p.MQTT)
		write(t, nc, append([]byte("PROXY TCP4 "+address+" 127.0.0.1 4711 1883\r\n"), connectPacket(4, "text", sign(t, "2", 0))...))
		if code, err := connack(nc); err != nil || code != want {
			t.Errorf("a login of %s in version 1: code %d, %v", address, code, err)
		}
	}
	for _, missing := range [][]byte{connectPacket(4, "direct", sign(t, "2", 0)), append([]byte("PROXY TCP4 phone.example 127.0.0.1 4711 1883\r\n"), connectPacket(4, "text", sign(t, "2", 0))...)} {
		nc := dial(t, p.MQTT)
		write(t, nc, missing)
		if code, err := connack(nc); err == nil {
			t.Errorf("without a header that can be read: code %d", code)
		}
	}
	get := func(forwarded string, status int) {
		t.Helper()
		c := client
		c.token, c.forwarded = sign(t, "3", 0), forwarded
		c.do(t, "GET", "/notifications/count", nil, status, nil)
	}
	get("198.51.100.4", 200)
	get("198.51.100.4", 429)
	get("203.0.113.1, 198.51.100.4", 429) // whatever precedes it
	get("198.51.100.5", 200)
	get("nobody", 400)
	var text string
	caller{base: p.Admin}.do(t, "GET", "/metrics", nil, 200, &text)
	for _, want := range []string{`limit="connects_per_address"} 3`, `limit="proxy_header"} 2`, `limit="requests_per_address"} 2`, `limit="forwarded_header"} 1`, `limit="packet_rate"} 0`} {
		if !strings.Contains(text, "falconbridge_limited_total{"+want) {
			t.Errorf("no falconbridge_limited_total{%s", want)
		}
	}
}

func TestAnUntrustedPeerCannotClaimAnotherAddress(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production, "--trusted-proxies=10.0.0.0/8", "--connect-rate-per-ip=50/s", "--request-rate-per-ip=1/h")
	for _, version := range []byte{4, 5} {
		nc := dial(t, p.MQTT)
		write(t, nc, append(proxied("198.51.100.1"), connectPacket(version, "forged", sign(t, "1", 0))...))
		if code, err := connack(nc); err == nil {
			t.Errorf("MQTT %d: an untrusted PROXY header gets %d", version, code)
		}
		web := dial(t, strings.TrimPrefix(p.HTTP, "http://"))
		upgrade(t, web, "X-Forwarded-For: 198.51.100.3")
		write(t, web, framed(connectPacket(version, fmt.Sprint("ws", version), sign(t, "1", 0))))
	}
	admin := caller{base: p.HTTP, token: sign(t, "root", bridge.ScopeAdmin)}
	for id, address := range addresses(t, admin, 2) {
		if address != "127.0.0.1" {
			t.Errorf("%s comes from %s", id, address)
		}
	}
	for i, status := range []int{200, 429} {
		c := caller{base: p.HTTP, token: sign(t, fmt.Sprint(i), 0), forwarded: fmt.Sprintf("198.51.100.%d", i)}
		c.do(t, "GET", "/notifications/count", nil, status, nil)
	}
}
