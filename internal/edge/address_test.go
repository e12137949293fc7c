package edge

import "testing"

func TestAHostIsAnIPv4AddressOrTheSlash64OfAnIPv6Address(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234":           "192.0.2.7",
		"[::ffff:192.0.2.7]:1":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::",
		"2001:db8:1:2::9":          "2001:db8:1:2::",
		"[fe80::1%eth0]:1":         "fe80::",
		"203.0.113.9":              "203.0.113.9",
		"@":                        "invalid IP",
		"":                         "invalid IP",
		"a name":                   "invalid IP",
	} {
		if got := Host(ParseRemote(remote)); got.String() != want {
			t.Errorf("%q counts as %v, want %s", remote, got, want)
		}
	}
}
