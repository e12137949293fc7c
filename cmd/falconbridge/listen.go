package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// listen opens one of the addresses. Where that fails the error names the
// setting and the remedy. secure is nil for a listener in the clear.
func (s *server) listen(setting, addr string, secure *tls.Config) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", addr)
	if err != nil {
		p := s.c.Problem(setting, "cannot listen on "+addr, "choose another address")
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			p.What, p.Remedy = addr+" is in use by another program", "stop that one, or choose another port"
		case errors.Is(err, syscall.EACCES):
			p.What, p.Remedy = "this user may not listen on "+addr, "choose a port of 1024 or higher"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			p.What, p.Remedy = addr+" is not an address of this machine", "leave the host out to listen on all"
		}
		return nil, p
	}
	s.addrs[setting] = l.Addr()
	s.log.Info("listening", "setting", setting, "addr", l.Addr().String(), "tls", secure != nil)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	return l, nil
}

func isClosed(err error) bool {
	return errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed)
}

// nodeName is unique among running nodes and tells people which machine it is.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return fmt.Sprintf("%.40s-%s", host, strings.ToLower(rand.Text()[:8]))
}
