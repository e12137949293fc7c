package edge

import "testing"

func TestOriginsAllowTheSameOriginAndTheList(t *testing.T) {
	for name, tt := range map[string]struct {
		list         []string
		origin, host string
		want         bool
	}{
		"no browser":                       {nil, "", "bridge.example", true},
		"the same origin":                  {nil, "https://bridge.example", "bridge.example", true},
		"the same, of another case":        {nil, "HTTPS://Bridge.example", "bridge.EXAMPLE", true},
		"the same, on a port":              {nil, "http://bridge.example:8080", "bridge.example:8080", true},
		"another port":                     {nil, "http://bridge.example:8081", "bridge.example:8080", false},
		"a Host with the default port":     {nil, "https://bridge.example", "bridge.example:443", true},
		"a Host with another's default":    {nil, "https://bridge.example", "bridge.example:80", false},
		"the same, over IPv6":              {nil, "http://[::1]:8080", "[::1]:8080", true},
		"not listed":                       {nil, "https://app.example", "bridge.example", false},
		"listed":                           {[]string{"https://app.example"}, "https://app.example", "bridge.example", true},
		"listed, of another case":          {[]string{"https://App.example"}, "HTTPS://APP.example", "bridge.example", true},
		"listed, another scheme":           {[]string{"https://app.example"}, "http://app.example", "bridge.example", false},
		"listed, another port":             {[]string{"https://app.example"}, "https://app.example:8443", "bridge.example", false},
		"a name that only begins so":       {[]string{"https://app.example"}, "https://app.example.evil", "bridge.example", false},
		"listed with the default port":     {[]string{"https://app.example:443"}, "https://app.example", "bridge.example", true},
		"http with its default port":       {[]string{"http://app.example:80"}, "http://app.example", "bridge.example", true},
		"http with another's default port": {[]string{"http://app.example:443"}, "http://app.example", "bridge.example", false},
		"IPv6 written out":                 {[]string{"http://[0:0:0:0:0:0:0:1]:3000"}, "http://[::1]:3000", "bridge.example", true},
		"Capacitor":                        {[]string{"capacitor://localhost"}, "capacitor://localhost", "bridge.example", true},
		"Capacitor, another host":          {[]string{"capacitor://localhost"}, "capacitor://evil", "bridge.example", false},
		"Ionic is not Capacitor":           {[]string{"capacitor://localhost"}, "ionic://localhost", "bridge.example", false},
		"an app named like the host":       {nil, "capacitor://bridge.example", "bridge.example", false},
		"an extension":                     {[]string{"chrome-extension://abcdefghijklmnop"}, "chrome-extension://abcdefghijklmnop", "bridge.example", true},
		"a page from a file":               {[]string{"file://"}, "file://", "bridge.example", true},
		"a page from a file, not listed":   {nil, "file://", "bridge.example", false},
		"a sandboxed page":                 {[]string{"https://app.example"}, "null", "bridge.example", false},
		"a sandboxed page, all allowed":    {[]string{"*"}, "null", "bridge.example", true},
		"a subdomain":                      {[]string{"https://*.app.example"}, "https://a.app.example", "bridge.example", true},
		"a subdomain's subdomain":          {[]string{"https://*.app.example"}, "https://a.b.app.example", "bridge.example", true},
		"the parent is no subdomain":       {[]string{"https://*.app.example"}, "https://app.example", "bridge.example", false},
		"a name that only ends so":         {[]string{"https://*.app.example"}, "https://evilapp.example", "bridge.example", false},
		"a subdomain, another scheme":      {[]string{"https://*.app.example"}, "http://a.app.example", "bridge.example", false},
		"a subdomain, another port":        {[]string{"https://*.app.example:8443"}, "https://a.app.example", "bridge.example", false},
		"a subdomain named in user info":   {[]string{"https://*.app.example"}, "https://a.app.example@evil", "bridge.example", false},
		"a subdomain named in a path":      {[]string{"https://*.app.example"}, "https://evil/.app.example", "bridge.example", false},
		"a header that is no origin":       {[]string{"https://app.example"}, "https://app.example/", "bridge.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOrigins(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			if got := o.Allows(tt.origin, tt.host); got != tt.want {
				t.Errorf("%q allows %q at %q: %v", tt.list, tt.origin, tt.host, got)
			}
		})
	}
}

func TestAnOriginThatCanNeverMatchIsRefused(t *testing.T) {
	for _, bad := range []string{
		"app.example", "https://app.example/", "https://app.example/x", "https://app.example?", "https://app.example?q", "https://a@b", "https://",
		"null", "localhost:3000", "mailto:a@b", "https://bücher.example", "https://a b.example", "https://app.example:port",
		"https://app.*.example", "https://app*.example", "https://*", "https://*.", "https://**.app.example", "https://app.example:*", "*://app.example",
	} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
