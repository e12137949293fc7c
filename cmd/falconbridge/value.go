package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// off is the value that closes a listener or lifts a limit.
const off = "off"

// toggle is a flag that is on or off, kept as text until it is checked.
type toggle string

// IsBool lets the flag stand without a value.
func (*toggle) IsBool() bool { return true }

// Decode reads the value, "true" where the flag stands alone.
func (t *toggle) Decode(ctx *kong.DecodeContext) error {
	*t = "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		*t = toggle(fmt.Sprint(ctx.Scan.Pop().Value))
	}
	return nil
}

// parseAddr reads host:port, :port or off. The answer is "" for off.
func parseAddr(s string) (string, error) {
	if s == off {
		return "", nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("is not an address")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", errors.New("has no port from 0 to 65535")
	}
	return s, nil
}

// loopbackOnly is addr on loopback, with its port.
func loopbackOnly(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || isLoopback(host) {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// parseCount reads an integer of at least 1.
func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, errors.New("is not a whole number of at least 1")
	}
	return n, nil
}

// parseRate reads "50/s", "600/m", "50" (a second) or off, as events a second; 0
// is no limit.
func parseRate(s string) (float64, error) {
	if s == off {
		return 0, nil
	}
	count, unit, found := strings.Cut(s, "/")
	if !found {
		unit = "s"
	}
	per, known := map[string]float64{"s": 1, "m": 60, "min": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(count, 64)
	if err != nil || !known || !(n > 0 && n <= 1e9) {
		return 0, errors.New("is not a rate")
	}
	return n / per, nil
}

// parseTime reads a duration that is not negative, in Go's units and days.
func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, found := strings.CutSuffix(s, "d"); found {
		var n float64
		if n, err = strconv.ParseFloat(days, 64); err == nil && n >= 0 && n <= 36500 {
			d = time.Duration(n * 24 * float64(time.Hour))
		}
	}
	if err != nil || d < 0 {
		return 0, errors.New("is not a time")
	}
	return d, nil
}
