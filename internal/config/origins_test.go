package config

import "testing"

func TestOriginsMayBeWrittenAsInternationalNames(t *testing.T) {
	for name, tt := range map[string]struct{ list, sent string }{
		"an international name":         {"https://bücher.example", "https://xn--bcher-kva.example"},
		"in capitals":                   {"https://BÜCHER.example", "https://xn--bcher-kva.example"},
		"with a port":                   {"https://bücher.example:8443", "https://xn--bcher-kva.example:8443"},
		"with the default port":         {"https://bücher.example:443", "https://xn--bcher-kva.example"},
		"its subdomains":                {"https://*.bücher.example", "https://a.xn--bcher-kva.example"},
		"in its ASCII form":             {"https://xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		"a letter that older rules map": {"https://faß.example", "https://xn--fa-hia.example"},
		"decomposed":                    {"https://bu\u0308cher.example", "https://xn--bcher-kva.example"},
		"with an underscore":            {"https://my_app.example", "https://my_app.example"},
		"the second of a list":          {"http://localhost:3000, https://bücher.example", "https://xn--bcher-kva.example"},
		"an app in a web view":          {"capacitor://localhost", "capacitor://localhost"},
		"over IPv6":                     {"http://[::1]:3000", "http://[::1]:3000"},
	} {
		o, err := parseOrigins(tt.list)
		if err != nil || !o.Allows(tt.sent, "bridge.example") {
			t.Errorf("%s: %q does not allow %q (%v)", name, tt.list, tt.sent, err)
		}
	}
	for _, bad := range []string{"https://büc*.example", "https://bücher.example/", "https://a\u0000b.example", "bücher.example"} {
		if _, err := parseOrigins(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
