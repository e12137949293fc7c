package broker

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
)

// The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt): what a trusted
// proxy says about the connection it passes on, before the first byte of TLS or
// MQTT. As its §2 demands there is no guessing: a trusted proxy must send the
// header, and from anybody else it is a malformed first packet.

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = len(proxySignature) + 4
	// maxProxyHeader bounds what follows the fixed part, in bytes: two addresses
	// and what proxies add of themselves.
	maxProxyHeader = 2 << 10
)

// Values of the header's fields.
const (
	proxyLocal = 0x20 // version 2: the proxy's own connection, a health check
	proxyOther = 0x21 // version 2: somebody else's
	proxyNone  = 0x00 // family: the proxy does not tell
	proxyTCP4  = 0x11
	proxyTCP6  = 0x21
	proxyCRC   = 0x03 // extension: CRC32c of the header
)

var errProxy = errors.New("the header of the PROXY protocol is malformed or missing")

// below is the connection below TLS.
func below(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

// peer is the address nc comes from, without its port.
func peer(nc net.Conn) netip.Addr {
	p, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	return p.Addr()
}

// introduce reads a trusted proxy's header and counts the connection for the
// address it names.
func (c *conn) introduce() error {
	from, err := readProxy(below(c.nc))
	if err != nil {
		return err
	}
	if from.IsValid() {
		c.remote = from.String()
	}
	if !c.b.gate.introduce(c, address(c.remote)) {
		c.b.count.turnedAway.Add(1)
		return errCrowded
	}
	return nil
}

var errCrowded = errors.New("too many sockets before login")

// readProxy reads one header, and nothing behind it. The zero AddrPort stands for
// the proxy itself.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	fixed := make([]byte, proxyFixed)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return netip.AddrPort{}, errProxy
	}
	n := int(binary.BigEndian.Uint16(fixed[14:]))
	if string(fixed[:len(proxySignature)]) != proxySignature || n > maxProxyHeader {
		return netip.AddrPort{}, errProxy
	}
	rest := make([]byte, n)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, errProxy
	}
	return parseProxy(fixed, rest)
}

func parseProxy(fixed, rest []byte) (netip.AddrPort, error) {
	size := 0 // of one address
	switch command, family := fixed[12], fixed[13]; {
	case command == proxyLocal: // what follows is to be ignored
		return netip.AddrPort{}, nil
	case command != proxyOther:
		return netip.AddrPort{}, errProxy
	case family == proxyTCP4:
		size = 4
	case family == proxyTCP6:
		size = 16
	case family != proxyNone:
		return netip.AddrPort{}, errProxy
	}
	at := 0 // where the extensions begin
	if size > 0 {
		at = 2*size + 4
	}
	if len(rest) < at || !proxyExtensions(fixed, rest, at) {
		return netip.AddrPort{}, errProxy
	}
	if size == 0 {
		return netip.AddrPort{}, nil
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// proxyExtensions checks the framing of what follows the addresses at rest[at:],
// and the checksum where there is one.
func proxyExtensions(fixed, rest []byte, at int) bool {
	for at < len(rest) {
		if len(rest)-at < 3 {
			return false
		}
		kind, n := rest[at], int(binary.BigEndian.Uint16(rest[at+1:]))
		value := at + 3
		if len(rest)-value < n {
			return false
		}
		if kind == proxyCRC {
			if n != 4 {
				return false
			}
			blank := append(bytes.Clone(fixed), rest...)
			clear(blank[len(fixed)+value : len(fixed)+value+4])
			if binary.BigEndian.Uint32(rest[value:]) != crc32.Checksum(blank, castagnoli) {
				return false
			}
		}
		at = value + n
	}
	return true
}
