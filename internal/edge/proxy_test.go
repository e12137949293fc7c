package edge

import (
	"errors"
	"net/netip"
	"testing"
)

func TestProxiesAreAddressesAndPrefixes(t *testing.T) {
	p, err := ParseProxies([]string{" 10.0.0.0/8", "192.0.2.7", "", "fd00::/8 "})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.255.0.1": true, "::ffff:10.1.1.1": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false,
		"fd12::1": true, "fd12::1%eth0": true, "fe80::1": false, "::": false,
	} {
		if got := p.Trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("trusts %s: %v", addr, got)
		}
	}
	if p.Trusts(netip.Addr{}) || Proxies(nil).Trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("the zero address is trusted, or the zero Proxies trusts")
	}
	for _, bad := range []string{"localhost", "10.0.0.0/33", "10.0.0", "*", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0-10.0.0.9"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	all, err := ParseProxies([]string{"0.0.0.0/0"})
	if err != nil || !all.TrustsAll() || p.TrustsAll() {
		t.Errorf("trusts all: %v, %v", all, err)
	}
}

func TestOnlyTrustedProxiesReportAddresses(t *testing.T) {
	p, err := ParseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		peer      string
		forwarded []string
		want      string // "": refused
	}{
		"no proxy":                                {"192.0.2.1", nil, "192.0.2.1"},
		"a client that claims another":            {"192.0.2.1", []string{"198.51.100.9"}, "192.0.2.1"},
		"a client that claims a proxy in between": {"192.0.2.1", []string{"198.51.100.9, 10.1.1.1"}, "192.0.2.1"},
		"a client's garbage":                      {"192.0.2.1", []string{"rubbish"}, "192.0.2.1"},
		"a proxy":                                 {"10.1.1.1", []string{"198.51.100.9"}, "198.51.100.9"},
		"a proxy behind a proxy":                  {"10.1.1.1", []string{"198.51.100.9, 10.2.2.2"}, "198.51.100.9"},
		"the same in two lines":                   {"10.1.1.1", []string{"198.51.100.9", "10.2.2.2"}, "198.51.100.9"},
		"a client that claims more":               {"10.1.1.1", []string{"203.0.113.7, 198.51.100.9"}, "198.51.100.9"},
		"a client that claims a proxy":            {"10.1.1.1", []string{"10.9.9.9, 198.51.100.9"}, "198.51.100.9"},
		"a client that claims garbage before it":  {"10.1.1.1", []string{"<script>", "198.51.100.9"}, "198.51.100.9"},
		"a proxy that reports nothing":            {"10.1.1.1", nil, "10.1.1.1"},
		"a proxy that reports itself":             {"10.1.1.1", []string{"10.1.1.1"}, "10.1.1.1"},
		"a proxy that does not know the client":   {"10.1.1.1", []string{"unknown"}, ""},
		"an empty line":                           {"10.1.1.1", []string{""}, ""},
		"an empty hop":                            {"10.1.1.1", []string{"198.51.100.9, "}, ""},
		"a name":                                  {"10.1.1.1", []string{"client.example"}, ""},
		"with a port":                             {"10.1.1.1", []string{"198.51.100.9:4711"}, "198.51.100.9"},
		"IPv6 in brackets, with a port":           {"10.1.1.1", []string{"[2001:db8::9]:4711"}, "2001:db8::9"},
		"IPv6 in brackets":                        {"fd00::1", []string{"[2001:db8::9]"}, "2001:db8::9"},
		"IPv4 in IPv6":                            {"::ffff:10.1.1.1", []string{"::ffff:198.51.100.9"}, "198.51.100.9"},
		"a zone":                                  {"10.1.1.1", []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		got, err := p.Client(netip.MustParseAddr(tt.peer), tt.forwarded)
		switch {
		case tt.want == "":
			if !errors.Is(err, ErrForwarded) {
				t.Errorf("%s: %v, %v; want it refused", name, got, err)
			}
		case err != nil || got.String() != tt.want:
			t.Errorf("%s: %v, %v; want %s", name, got, err, tt.want)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"198.51.100.9", "10.1.1.1, 10.2.2.2", "[::1]:5,,", "a%b", ",", "10.1.1.1,\x00"} {
		f.Add(s)
	}
	p := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := p.Client(netip.MustParseAddr("10.0.0.1"), []string{s})
		if (err == nil) != a.IsValid() {
			t.Errorf("%q: %v and %v", s, a, err)
		}
		if a.Zone() != "" || a.Is4In6() {
			t.Errorf("%q: %v has more than one spelling", s, a)
		}
	})
}
