package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/falconalert/falconbridge/internal/edge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// loopback trusts the address that the tests connect from.
var loopback = edge.Proxies{netip.MustParsePrefix("127.0.0.0/8")}

// proxyHeader returns a version 2 header for a client at that address and port.
func proxyHeader(from string, extensions ...byte) []byte {
	a := netip.MustParseAddrPort(from)
	family, to := byte(proxyproto.TCPv4), make([]byte, 4)
	if a.Addr().Is6() {
		family, to = byte(proxyproto.TCPv6), make([]byte, 16)
	}
	rest := append(a.Addr().AsSlice(), to...)
	rest = binary.BigEndian.AppendUint16(rest, a.Port())
	rest = append(rest, 0x07, 0x5B)
	return proxyPacket(byte(proxyproto.PROXY), family, append(rest, extensions...)...)
}

func proxyPacket(command, family byte, rest ...byte) []byte {
	b := append([]byte(proxySignature), command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(rest))), rest...)
}

// proxyLine returns a version 1 header.
func proxyLine(text string) []byte { return []byte("PROXY " + text + "\r\n") }

const fullIPv6 = "2001:db8:1111:2222:3333:4444:5555:6666"

// behindProxy runs a test in which devices connect through a trusted proxy.
func behindProxy(t *testing.T, o Options, run func(t *testing.T, w *world, at endpoint)) {
	o.TrustedProxies = loopback
	for _, transport := range []string{"tcp", "tls"} {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s, MQTT %d", transport, version), func(t *testing.T) {
				t.Parallel()
				run(t, newWorld(t, o), endpoint{transport, version})
			})
		}
	}
}

// remotes returns the addresses of the connections that are logged in.
func (w *world) remotes() (all []string) {
	w.broker.admission.mu.Lock()
	defer w.broker.admission.mu.Unlock()
	for _, cs := range w.broker.admission.users {
		for _, c := range cs {
			all = append(all, c.remote)
		}
	}
	return all
}

func TestTheAddressBehindATrustedProxyIsWhatCounts(t *testing.T) {
	checksum := proxyHeader("198.51.100.9:4711", byte(proxyproto.PP2_TYPE_CRC32C), 0, 4, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(checksum[len(checksum)-4:], crc32.Checksum(checksum, castagnoli))
	for name, tt := range map[string]struct {
		header []byte
		want   string // "": the proxy's own address
	}{
		"IPv4":                          {proxyHeader("198.51.100.9:4711"), "198.51.100.9:4711"},
		"IPv6":                          {proxyHeader("[2001:db8::9]:4711"), "[2001:db8::9]:4711"},
		"IPv4 in IPv6":                  {proxyHeader("[::ffff:198.51.100.9]:4711"), "198.51.100.9:4711"},
		"with extensions":               {proxyHeader("198.51.100.9:4711", 0x02, 0, 1, 'h', 0x04, 0, 0), "198.51.100.9:4711"},
		"with a checksum":               {checksum, "198.51.100.9:4711"},
		"a health check":                {proxyPacket(byte(proxyproto.LOCAL), byte(proxyproto.UNSPEC)), ""},
		"a health check with addresses": {proxyPacket(byte(proxyproto.LOCAL), byte(proxyproto.TCPv4), 1, 2, 3), ""},
		"a proxy without addresses":     {proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.UNSPEC)), ""},
		"the same, with an extension":   {proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.UNSPEC), 0x04, 0, 1, 0), ""},
		"version 1, IPv4":               {proxyLine("TCP4 198.51.100.9 192.0.2.1 4711 1883"), "198.51.100.9:4711"},
		"version 1, IPv6":               {proxyLine("TCP6 2001:db8::9 2001:db8::1 4711 1883"), "[2001:db8::9]:4711"},
		"version 1, the longest":        {proxyLine("TCP6 " + fullIPv6 + " " + fullIPv6 + " 65535 65535"), "[" + fullIPv6 + "]:65535"},
		"version 1, IPv4 in IPv6":       {proxyLine("TCP6 ::ffff:198.51.100.9 ::1 4711 1883"), "198.51.100.9:4711"},
		"version 1, mixed as by nginx":  {proxyLine("TCP6 198.51.100.9 ::1 4711 1883"), "198.51.100.9:4711"},
		"version 1, unknown":            {proxyLine("UNKNOWN"), ""},
		"version 1, unknown and more":   {proxyLine("UNKNOWN ffff::1 ffff::2 65535 65535"), ""},
		"naming another proxy":          {proxyHeader("127.0.0.9:1"), "127.0.0.9:1"},
	} {
		t.Run(name, func(t *testing.T) {
			behindProxy(t, Options{}, func(t *testing.T, w *world, at endpoint) {
				d := w.dialBehind(at, tt.header)
				d.send(connect{id: "a", token: "7", clean: true}.packet(at.version))
				d.expectConnack(0)
				want := tt.want
				if want == "" {
					want = d.nc.LocalAddr().String()
				}
				if got := w.remotes(); len(got) != 1 || got[0] != want {
					t.Errorf("connected from %v, want %s", got, want)
				}
				d.alive()
			})
		})
	}
}

func TestMalformedProxyHeaderIsRefused(t *testing.T) {
	good := proxyHeader("198.51.100.9:4711")
	version1 := append([]byte(proxySignature), 0x11)
	wrong := proxyHeader("198.51.100.9:4711", byte(proxyproto.PP2_TYPE_CRC32C), 0, 4, 1, 2, 3, 4)
	for name, header := range map[string][]byte{
		"no header":                     nil, // a CONNECT or a TLS handshake instead
		"text of no protocol":           proxyLine("UDP4 198.51.100.9 127.0.0.1 4711 1883"),
		"text without a port":           proxyLine("TCP4 198.51.100.9 127.0.0.1 4711"),
		"text with a word more":         proxyLine("TCP4 198.51.100.9 127.0.0.1 4711 1883 x"),
		"text with two blanks":          proxyLine("TCP4  198.51.100.9 127.0.0.1 4711 1883"),
		"text with a name":              proxyLine("TCP4 phone.example 127.0.0.1 4711 1883"),
		"text with IPv6 called IPv4":    proxyLine("TCP4 2001:db8::9 127.0.0.1 4711 1883"),
		"text with a port too high":     proxyLine("TCP4 198.51.100.9 127.0.0.1 65536 1883"),
		"text with a signed port":       proxyLine("TCP4 198.51.100.9 127.0.0.1 +471 1883"),
		"text with a leading zero":      proxyLine("TCP4 198.051.100.9 127.0.0.1 4711 1883"),
		"text with a zone":              proxyLine("TCP6 fe80::1%eth0 ::1 4711 1883"),
		"text that ends with LF":        []byte("PROXY TCP4 198.51.100.9 127.0.0.1 4711 1883\n"),
		"text without an end":           []byte("PROXY TCP4 " + strings.Repeat("1", 200)),
		"text in small letters":         []byte("proxy TCP4 198.51.100.9 127.0.0.1 4711 1883\r\n"),
		"another signature":             append([]byte{'\r', '\n', '\r', '\n', 1}, good[5:]...),
		"another version":               append(version1, good[13:]...),
		"an unknown command":            proxyPacket(0x22, byte(proxyproto.TCPv4), good[16:]...),
		"UDP":                           proxyPacket(byte(proxyproto.PROXY), 0x12, good[16:]...),
		"a Unix socket":                 proxyPacket(byte(proxyproto.PROXY), 0x31, make([]byte, 216)...),
		"an unknown family":             proxyPacket(byte(proxyproto.PROXY), 0x41, good[16:]...),
		"an address cut short":          proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.TCPv4), good[16:27]...),
		"IPv4 called IPv6":              proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.TCPv6), good[16:]...),
		"an extension cut short":        proxyHeader("198.51.100.9:4711", 0x02, 0),
		"an extension that is too long": proxyHeader("198.51.100.9:4711", 0x02, 0, 2, 'h'),
		"a checksum of two bytes":       proxyHeader("198.51.100.9:4711", byte(proxyproto.PP2_TYPE_CRC32C), 0, 2, 0, 0),
		"a wrong checksum":              wrong,
		"a huge one":                    proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.TCPv4), make([]byte, 60_000)...),
	} {
		t.Run(name, func(t *testing.T) {
			behindProxy(t, Options{ConnectTimeout: time.Second}, func(t *testing.T, w *world, at endpoint) {
				d := w.dialBehind(at, header)
				d.send(connect{id: "a", token: "7", clean: true}.packet(at.version))
				d.expectEnd(0)
				if s := w.broker.Stats(); s.Logins != 0 || s.Limited[LimitProxyHeader] != 1 {
					t.Errorf("%d logins, limits %v", s.Logins, s.Limited)
				}
				w.eventually("it has ended", func(s Stats) bool { return s.Pending == 0 })
			})
		})
	}
}

func TestHalfAProxyHeaderTimesOut(t *testing.T) {
	behindProxy(t, Options{ConnectTimeout: 200 * time.Millisecond}, func(t *testing.T, w *world, at endpoint) {
		whole := proxyHeader("198.51.100.9:4711")
		for _, n := range []int{0, 1, 15, 16, len(whole) - 1} {
			d := w.dialBehind(at, whole[:n])
			d.closesWithin(testTimeout)
		}
		for _, n := range []int{6, 20} {
			d := w.dialBehind(at, proxyLine("TCP4 198.51.100.9 127.0.0.1 4711 1883")[:n])
			d.closesWithin(testTimeout)
		}
		w.eventually("they have ended", func(s Stats) bool { return s.Pending == 0 })
	})
}

func TestProxyHeaderOfAnUntrustedPeerIsRefused(t *testing.T) {
	for _, trusted := range []edge.Proxies{nil, {netip.MustParsePrefix("192.0.2.0/24")}} {
		for _, transport := range []string{"tcp", "tls"} {
			w := newWorld(t, Options{TrustedProxies: trusted})
			d := w.dialBehind(endpoint{transport, 5}, proxyHeader("198.51.100.9:4711"))
			d.send(connect{id: "a", token: "7", clean: true}.packet(5))
			d.expectEnd(0)
			if n := w.broker.Stats().Logins; n != 0 {
				t.Errorf("%s: %d logins", transport, n)
			}
		}
	}
}

func TestSecondProxyHeaderIsRefused(t *testing.T) {
	behindProxy(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		twice := bytes.Repeat(proxyHeader("198.51.100.9:4711"), 2)
		d := w.dialBehind(at, twice)
		d.send(connect{id: "a", token: "7", clean: true}.packet(at.version))
		d.expectEnd(0)
		if n := w.broker.Stats().Logins; n != 0 {
			t.Errorf("%d logins", n)
		}
	})
}

func TestAddressesBehindAProxyHaveLimitsOfTheirOwn(t *testing.T) {
	behindProxy(t, Options{ConnectRatePerIP: 1, MaxPendingPerIP: 2, MaxConnectionsPerIP: 1}, func(t *testing.T, w *world, at endpoint) {
		rated := map[byte]byte{4: 3, 5: codeConnectionRate}[at.version]
		for i, want := range []byte{0, rated} {
			d := w.dialBehind(at, proxyHeader("198.51.100.9:4711"))
			d.send(connect{id: fmt.Sprint(i), token: "7", clean: true}.packet(at.version))
			d.expectConnack(want)
		}
		for i := range 5 { // other clients have their own limit
			d := w.dialBehind(at, proxyHeader(fmt.Sprintf("203.0.113.%d:4711", i)))
			d.send(connect{id: fmt.Sprint(i), token: "8", clean: true}.packet(at.version))
			d.expectConnack(0)
		}
		for range 3 { // and so have connections of the proxy without a header yet
			w.dialBehind(at, nil)
		}
		w.eventually("all pending", func(s Stats) bool { return s.Pending >= 3 })
		for range 2 {
			d := w.dialBehind(at, proxyHeader("192.0.2.1:1"))
			if at.transport == "tcp" {
				d.raw([]byte{0x10})
			}
		}
		testserver.Eventually(t, testTimeout, func() error {
			g := &w.broker.admission
			g.mu.Lock()
			defer g.mu.Unlock()
			if n := g.pending.count(origin{from: address("192.0.2.1")}); n != 2 {
				return fmt.Errorf("%d connections are pending, want 2", n)
			}
			return nil
		})
		d := w.dialBehind(at, proxyHeader("192.0.2.1:2"))
		d.closesWithin(testTimeout)
		if n := w.broker.Stats().Limited[LimitPending]; n != 1 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

// A header may arrive in any number of segments.
func TestAProxyHeaderMayComeInPieces(t *testing.T) {
	for name, header := range map[string][]byte{
		"version 1": proxyLine("TCP4 198.51.100.9 192.0.2.1 4711 1883"), "version 2": proxyHeader("198.51.100.9:4711"),
	} {
		r := bytes.NewReader(append(bytes.Clone(header), "what follows"...))
		from, err := readProxy(iotest.OneByteReader(r))
		if err != nil || from.String() != "198.51.100.9:4711" || r.Len() != len("what follows") {
			t.Errorf("%s: %v, %v, %d bytes left", name, from, err, r.Len())
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add(proxyHeader("198.51.100.9:4711"))
	f.Add(proxyHeader("[2001:db8::9]:4711", byte(proxyproto.PP2_TYPE_CRC32C), 0, 4, 1, 2, 3, 4))
	f.Add(proxyPacket(byte(proxyproto.LOCAL), byte(proxyproto.UNSPEC)))
	f.Add(proxyPacket(byte(proxyproto.PROXY), byte(proxyproto.UNSPEC), 4, 0, 1, 0))
	f.Add(proxyLine("TCP4 198.51.100.9 192.0.2.1 4711 1883"))
	f.Add(proxyLine("UNKNOWN"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(append(bytes.Clone(b), "what follows"...))
		from, err := readProxy(r)
		if err != nil {
			if from.IsValid() {
				t.Errorf("%v with the address %v", err, from)
			}
			return
		}
		size := bytes.IndexByte(b, '\n') + 1
		if b[0] != 'P' {
			size = proxyFixed + int(binary.BigEndian.Uint16(b[14:]))
		}
		if left := r.Len(); left != len(b)+len("what follows")-size {
			t.Errorf("%d bytes are left after a header of %d in %d", left, size, len(b))
		}
	})
}
