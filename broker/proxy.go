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

// The PROXY protocol (haproxy.org, proxy-protocol.txt) is how a trusted proxy reports the
// client of a connection, before the first byte of TLS or MQTT. Version 1 is a line of
// text, and the only one that nginx sends; version 2 is binary. A trusted proxy must send
// the header, and from any other peer it is a malformed first packet: §2 forbids to guess
// whether one is there.
//
// go-proxyproto decodes the header. Two things are done here, because it does not do them.
// It reads ahead, into a buffer that every idle connection would keep and that TLS would
// not see, so frameProxy reads exactly the bytes of the header first. And it does not
// verify checksums.

const (
	proxyText = "PROXY "
	// shortestProxy is the shortest header, the text "PROXY UNKNOWN\r\n".
	shortestProxy = 15
	// longestProxyText is that of two full IPv6 addresses, with its CRLF (§2.1).
	longestProxyText = 107
	proxySignature   = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed       = len(proxySignature) + 4
	// maxProxyHeader limits what follows the fixed part, in bytes: two addresses and
	// the extensions of the proxy.
	maxProxyHeader = 2 << 10
)

func init() {
	// nginx writes the IPv4 address of a client that came by IPv4 into a TCP6 line.
	proxyproto.V1AcceptIPv4InTCP6 = true
}

var errProxy = errors.New("the header of the PROXY protocol is malformed or missing")

// below returns the connection below TLS.
func underlying(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

// readProxyHeader reads a trusted proxy's header and counts the connection for the
// address it names.
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

// readProxy reads one header, and not a byte more. It returns the zero AddrPort where the
// connection is the proxy's own, such as a health check.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	b, err := frameProxy(r)
	if err != nil {
		return netip.AddrPort{}, errProxy
	}
	if b[0] != proxyText[0] && b[12] == byte(proxyproto.PROXY) && b[13] == byte(proxyproto.UNSPEC) {
		return netip.AddrPort{}, nil // the proxy does not know the client; the library refuses this form
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return netip.AddrPort{}, errProxy
	}
	if h.Command.IsLocal() { // §2.2: ignore what follows
		return netip.AddrPort{}, nil
	}
	from, _, ok := h.TCPAddrs()
	if !ok || h.Version == 2 && !checkExtensions(b, proxyFixed+addressesOf(h)) {
		return netip.AddrPort{}, errProxy
	}
	addr := from.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

// frameProxy reads the bytes of one header, at most maxProxyHeader after its fixed part.
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

// addressesOf returns how many bytes the addresses and ports of h take in version 2.
func addressesOf(h *proxyproto.Header) int {
	if h.TransportProtocol.IsIPv4() {
		return 2*4 + 2*2
	}
	return 2*16 + 2*2
}

// checkExtensions reports whether the extensions, which start at b[at:] after the
// addresses, are well framed, and the checksum is right where there is one (§2.2.3).
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
