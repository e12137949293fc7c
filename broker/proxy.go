package broker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// With the PROXY protocol (haproxy.org, proxy-protocol.txt) a trusted proxy reports the
// client's address before the first byte of TLS or MQTT. Version 1 is a line of text, the
// only version that nginx sends; version 2 is binary. A trusted proxy must send the
// header, because §2 forbids guessing whether there is one. From any other peer a header is
// a malformed first packet.
//
// go-proxyproto decodes the header. It reads ahead into a buffer, which every idle
// connection would keep and whose contents TLS would miss, so frameProxy first reads
// exactly the bytes of the header. And it does not verify checksums, which checkExtensions
// does.

const (
	proxyText = "PROXY "
	// shortestProxy is the shortest header, the text "PROXY UNKNOWN\r\n".
	shortestProxy = 15
	// longestProxyText is the longest text header, with two full IPv6 addresses (§2.1).
	longestProxyText = 107
	proxySignature   = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed       = len(proxySignature) + 4
	// maxProxyHeader is how many bytes may follow the fixed part of a version 2 header: two
	// addresses and extensions.
	maxProxyHeader = 2 << 10
)

func init() {
	// nginx writes a client's IPv4 address into a TCP6 line if the other address is IPv6.
	proxyproto.V1AcceptIPv4InTCP6 = true
}

var errProxy = errors.New("the PROXY protocol header is malformed or missing")

// underlying returns the connection that TLS runs on, or nc itself without TLS.
func underlying(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

// readProxyHeader reads the header of a trusted proxy, and counts the connection for the
// address that it names.
func (c *conn) readProxyHeader() error {
	from, err := readProxy(underlying(c.nc))
	if err != nil {
		return err
	}
	if from.IsValid() {
		c.remote = from.String()
	}
	if !c.b.admission.setAddress(c, address(c.remote)) {
		c.b.count.turnedAway.Add(1)
		return errTooManyPending
	}
	return nil
}

var errTooManyPending = errors.New("too many connections before login")

// readProxy reads one header and nothing after it. It returns the zero AddrPort if the
// connection is the proxy's own, for example a health check, or the proxy does not know the
// client.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	b, err := frameProxy(r)
	if err != nil {
		return netip.AddrPort{}, errProxy
	}
	if b[0] != proxyText[0] && b[12] == byte(proxyproto.PROXY) && b[13] == byte(proxyproto.UNSPEC) {
		return netip.AddrPort{}, nil // unknown client; go-proxyproto does not accept this header
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return netip.AddrPort{}, errProxy
	}
	if h.Command.IsLocal() { // §2.2: ignore the rest
		return netip.AddrPort{}, nil
	}
	from, _, ok := h.TCPAddrs()
	if !ok || h.Version == 2 && !checkExtensions(b, proxyFixed+addressesOf(h)) {
		return netip.AddrPort{}, errProxy
	}
	addr := from.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

// frameProxy reads the bytes of one header, of either version.
func frameProxy(r io.Reader) ([]byte, error) {
	b := make([]byte, shortestProxy, longestProxyText)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if string(b[:len(proxyText)]) == proxyText {
		for b[len(b)-1] != '\n' {
			if len(b) == longestProxyText {
				return nil, errProxy
			}
			b = b[:len(b)+1]
			if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	b = b[:proxyFixed]
	if _, err := io.ReadFull(r, b[shortestProxy:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b[proxyFixed-2:]))
	if string(b[:len(proxySignature)]) != proxySignature || n > maxProxyHeader {
		return nil, errProxy
	}
	b = append(b, make([]byte, n)...)
	_, err := io.ReadFull(r, b[proxyFixed:])
	return b, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// addressesOf returns the length in bytes of the addresses and ports of a version 2 header.
func addressesOf(h *proxyproto.Header) int {
	if h.TransportProtocol.IsIPv4() {
		return 2*4 + 2*2
	}
	return 2*16 + 2*2
}

// checkExtensions reports whether the extensions, b[at:], have consistent lengths, and the
// checksum among them, if there is one, is that of the header (§2.2.3).
func checkExtensions(b []byte, at int) bool {
	for at < len(b) {
		if len(b)-at < 3 {
			return false
		}
		kind, n := proxyproto.PP2Type(b[at]), int(binary.BigEndian.Uint16(b[at+1:]))
		value := at + 3
		if len(b)-value < n {
			return false
		}
		if kind == proxyproto.PP2_TYPE_CRC32C {
			if n != 4 {
				return false
			}
			blank := bytes.Clone(b) // the checksum is computed with its own field set to zero
			clear(blank[value : value+4])
			if binary.BigEndian.Uint32(b[value:]) != crc32.Checksum(blank, castagnoli) {
				return false
			}
		}
		at = value + n
	}
	return true
}
