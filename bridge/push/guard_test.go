package push

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestOnlyGloballyRoutableAddressesAreCalled(t *testing.T) {
	for name, tt := range map[string]struct {
		ip   string
		want bool
	}{
		"a public address":                  {"1.1.1.1", true},
		"a public IPv6 address":             {"2606:4700:4700::1111", true},
		"loopback":                          {"127.0.0.1", false},
		"any loopback":                      {"127.9.9.9", false},
		"IPv6 loopback":                     {"::1", false},
		"unspecified":                       {"0.0.0.0", false},
		"IPv6 unspecified":                  {"::", false},
		"this network":                      {"0.1.2.3", false},
		"the cloud's metadata service":      {"169.254.169.254", false},
		"the cloud's IPv6 metadata service": {"fd00:ec2::254", false},
		"10/8":                              {"10.0.0.1", false},
		"172.16/12":                         {"172.31.255.255", false},
		"after 172.16/12":                   {"172.32.0.1", true},
		"192.168/16":                        {"192.168.1.1", false},
		"carrier-grade NAT, 100.64/10":      {"100.64.0.1", false},
		"the end of 100.64/10":              {"100.127.255.255", false},
		"after 100.64/10":                   {"100.128.0.1", true},
		"IETF assignments":                  {"192.0.0.8", false},
		"benchmarking":                      {"198.19.0.1", false},
		"documentation":                     {"203.0.113.7", false},
		"6to4 relays":                       {"192.88.99.1", false},
		"multicast":                         {"224.0.0.1", false},
		"reserved":                          {"240.0.0.1", false},
		"broadcast":                         {"255.255.255.255", false},
		"mapped loopback":                   {"::ffff:127.0.0.1", false},
		"a mapped public address":           {"::ffff:1.1.1.1", false},
		"IPv4-compatible":                   {"::127.0.0.1", false},
		"NAT64, 64:ff9b::/96":               {"64:ff9b::7f00:1", false},
		"local NAT64, 64:ff9b:1::/48":       {"64:ff9b:1::7f00:1", false},
		"unique local, fc00::/7":            {"fc00::1", false},
		"the upper half of fc00::/7":        {"fdff::1", false},
		"link-local":                        {"fe80::1", false},
		"link-local with a zone":            {"fe80::1%lo", false},
		"a public address with a zone":      {"2606:4700:4700::1111%lo", false},
		"site-local":                        {"fec0::1", false},
		"IPv6 multicast":                    {"ff02::1", false},
		"6to4 around loopback":              {"2002:7f00:1::", false},
		"Teredo":                            {"2001::1", false},
		"IPv6 documentation":                {"2001:db8::1", false},
		"the newer IPv6 documentation":      {"3fff::1", false},
		"segment routing":                   {"5f00::1", false},
		"discard only":                      {"100::1", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := globallyRoutable(netip.MustParseAddr(tt.ip)); got != tt.want {
				t.Errorf("%s is globally routable: %v, want %v", tt.ip, got, tt.want)
			}
		})
	}
	if globallyRoutable(netip.Addr{}) {
		t.Error("the zero address is globally routable")
	}
}

func TestEndpointsThatAreNeverCalled(t *testing.T) {
	list, err := ParseHosts("push.example, Localhost:8443,[::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		hosts    Hosts
		endpoint string
		good     bool
	}{
		"a push service":                   {nil, "https://fcm.googleapis.com/fcm/send/x", true},
		"another port":                     {nil, "https://push.example:8443/x", true},
		"plain HTTP":                       {nil, "http://push.example/x", false},
		"a file":                           {nil, "file:///etc/passwd", false},
		"no host":                          {nil, "https:///x", false},
		"a user name":                      {nil, "https://push.example@127.0.0.1/", false},
		"a backslash":                      {nil, `https://push.example\@127.0.0.1/`, false},
		"a fragment":                       {nil, "https://push.example/#x", false},
		"loopback":                         {nil, "https://127.0.0.1/x", false},
		"[::ffff:127.0.0.1]":               {nil, "https://[::ffff:127.0.0.1]/x", false},
		"the cloud's metadata service":     {nil, "https://169.254.169.254/latest", false},
		"too long":                         {nil, "https://push.example/" + strings.Repeat("x", maxEndpoint), false},
		"on the list":                      {list, "https://push.example/x", true},
		"on the list, with the port":       {list, "https://push.example:443/x", true},
		"on the list, in capitals":         {list, "https://PUSH.example/x", true},
		"on the list, another port":        {list, "https://push.example:8443/x", false},
		"loopback on the list":             {list, "https://localhost:8443/x", true},
		"IPv6 loopback on the list":        {list, "https://[::1]:9/x", true},
		"not on the list":                  {list, "https://fcm.googleapis.com/x", false},
		"plain HTTP to a host on the list": {list, "http://push.example/x", false},
		"a suffix of the list":             {list, "https://evilpush.example/x", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.hosts.CheckEndpoint(tt.endpoint); (err == nil) != tt.good {
				t.Errorf("%s: %v", tt.endpoint, err)
			}
		})
	}
	if _, err := ParseHosts("https://push.example"); err == nil {
		t.Error("a URL is accepted as a host")
	}
}

// internal returns a server on loopback that counts its connections.
func internal(t *testing.T, h http.HandlerFunc) (s *httptest.Server, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s = httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, connections
}

func roots(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// post posts to url with the guarded client.
func post(t *testing.T, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestLoopbackIsNotCalled(t *testing.T) {
	s, connections := internal(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "localhost", "127.1", "2130706433", "0x7f000001"} {
		if _, err := post(t, Hosts{}.client(roots(s), nil), "https://"+host+":"+port); err == nil {
			t.Errorf("a request was sent to %s", host)
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections to loopback", n)
	}
}

// dns is a resolver that returns the next of addresses for every query of an IPv4 address.
func dns(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for next := 0; ; {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				ip := netip.MustParseAddr(addresses[min(next, len(addresses)-1)])
				next++
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body: &dnsmessage.AResource{A: ip.As4()}}}
			}
			out, err := m.Pack()
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// DNS rebinding: the name resolved to a public address at registration, and resolves to loopback
// when a message is sent, and then to a private address.
func TestDNSThatChangesBetweenCheckAndUse(t *testing.T) {
	s, connections := internal(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	resolver := dns(t, "1.1.1.1", "127.0.0.1", "169.254.169.254")
	endpoint := "https://rebind.example.:" + port
	if err := (Hosts{}).CheckEndpoint(endpoint); err != nil {
		t.Fatal(err)
	}
	if ips, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.example."); err != nil || !globallyRoutable(ips[0].Unmap()) {
		t.Fatalf("the name resolves to %v, %v", ips, err)
	}
	c := Hosts{}.client(roots(s), resolver)
	for range 2 {
		if _, err := post(t, c, endpoint); !errors.Is(err, errAddress) {
			t.Errorf("the request ended with %v, want %v", err, errAddress)
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections to loopback", n)
	}
}

func TestARedirectToAnInternalAddressIsNotFollowed(t *testing.T) {
	inside, connections := internal(t, func(http.ResponseWriter, *http.Request) {})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s, _ := internal(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, status) })
		c := Hosts{s.Listener.Addr().String(), inside.Listener.Addr().String()}.client(roots(s), nil)
		res, err := post(t, c, s.URL)
		if err != nil || res.StatusCode != status {
			t.Fatalf("%v, %v, want the response %d", res, err, status)
		}
		if got := outcomeOf(res).Result; got != rejected {
			t.Errorf("the result of a redirect is %v", got)
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections to the redirect's target", n)
	}
}

func TestAnEndlessResponseIsCutOff(t *testing.T) {
	stopped := make(chan error, 1)
	s, _ := internal(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				stopped <- err
				return
			}
		}
	})
	sender, r := senderTo(t, s)
	if o := sender.Test(t.Context(), r); o.Status != http.StatusCreated {
		t.Fatalf("%+v", o)
	}
	select {
	case <-stopped:
	case <-time.After(callTimeout):
		t.Error("the response is still being read")
	}
}

func TestEndlessHeadersAreCutOff(t *testing.T) {
	s, _ := internal(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 2*maxResponse))
	})
	sender, r := senderTo(t, s)
	if o := sender.Test(t.Context(), r); o.Err == nil || o.Status != 0 {
		t.Errorf("headers of %d bytes were read: %+v", 2*maxResponse, o)
	}
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	if (Hosts{}).client(nil, nil).Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy would connect, without the check of the address")
	}
}
