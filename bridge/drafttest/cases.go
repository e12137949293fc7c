// Package drafttest has a table of valid and invalid notifications, for the tests of REST and of
// falcon_notify, which must accept and refuse the same.
package drafttest

import "strings"

// Case is one notification of a caller. Data is JSON, or "" for none.
type Case struct {
	User, Title, Message, Kind, Data string
	URL, Replaces                    string
	ExpiresIn                        *int64 // seconds; nil: none

	Good bool
}

// Cases returns all cases, by what is special about them.
func Cases() map[string]Case {
	cases := map[string]Case{
		"the least":       {Good: true},
		"every character": {User: "aZ09._:@|-", Good: true},
		"three dots":      {User: "...", Good: true},
		"a long user":     {User: strings.Repeat("u", 128), Good: true},
		"too long a user": {User: strings.Repeat("u", 129)},
		"a wildcard":      {User: "#"},
		"a path":          {User: "a/b"},
		"a dot":           {User: "."},
		"two dots":        {User: ".."},
		"a line as user":  {User: "7\n"},
		"an accent":       {User: "é"},

		"a title of 255":     {Title: strings.Repeat("é", 255), Good: true},
		"a title of 256":     {Title: strings.Repeat("é", 256)},
		"emoji, 255 of them": {Title: strings.Repeat("😀", 255), Good: true},
		"a message of 4000":  {Message: strings.Repeat("é", 4000), Good: true},
		"a message of 4001":  {Message: strings.Repeat("é", 4001)},
		"quotes":             {Title: `O'Hara \' "x" \\ {NULL}`, Good: true},
		"a blank around":     {Title: "\u00a0t\u3000", Good: true},
		"a zero width space": {Title: "\u200b", Good: true}, // no blank, by Unicode

		"the kind of a report":      {Kind: "report.status", Good: true},
		"a kind of one's own":       {Kind: "x", Good: true},
		"every character of a kind": {Kind: "0az.9_-", Good: true},
		"a kind of 64":              {Kind: strings.Repeat("k", 64), Good: true},
		"a kind of 65":              {Kind: strings.Repeat("k", 65)},
		"a kind in capitals":        {Kind: "Marketing"},
		"a dot before a kind":       {Kind: ".hidden"},
		"a kind with a blank":       {Kind: "a b"},
		"a line after a kind":       {Kind: "marketing\n"},
		"an accent in a kind":       {Kind: "promoción"},

		"a link":                  {URL: "https://example.com/a?b=c#d", Good: true},
		"a link without TLS":      {URL: "http://example.com", Good: true},
		"a port":                  {URL: "https://example.com:8443/", Good: true},
		"letters of Spanish":      {URL: "https://españa.example/año", Good: true},
		"a path of its own":       {URL: "/reports/2", Good: true},
		"the root":                {URL: "/", Good: true},
		"an at sign in the path":  {URL: "https://example.com/@ana?to=a@b", Good: true},
		"2048 characters":         {URL: "/" + strings.Repeat("é", 2047), Good: true},
		"2049 characters":         {URL: "/" + strings.Repeat("é", 2048)},
		"a script":                {URL: "javascript:alert(1)"},
		"data as a link":          {URL: "data:text/html,x"},
		"a file":                  {URL: "file:///etc/passwd"},
		"a scheme in capitals":    {URL: "JavaScript:alert(1)"},
		"a blank before a script": {URL: " javascript:alert(1)"},
		"a link that is relative": {URL: "reports/2"},
		"a query alone":           {URL: "?a"},
		"another host":            {URL: "//evil.example"},
		"another host, reversed":  {URL: `\\evil.example`},
		"another host, half":      {URL: `/\evil.example`},
		"a tab before a slash":    {URL: "/\t/evil.example"},
		"a line in a link":        {URL: "https://example.com/\r\nX: y"},
		"a delete character":      {URL: "/a\x7f"},
		"a control of C1":         {URL: "/a\u0085"},
		"a backslash in a link":   {URL: `https://example.com\@evil.example`},
		"a user name":             {URL: "https://bank.example@evil.example/"},
		"a user name and a word":  {URL: "http://a:b@evil.example"},
		"no host":                 {URL: "https://"},
		"a path for a host":       {URL: "https:///evil.example"},
		"a host with a blank":     {URL: "https://exa mple.com/"},

		"a key":                  {Replaces: "order 7: état", Good: true},
		"a key of 128":           {Replaces: strings.Repeat("é", 128), Good: true},
		"a key of 129":           {Replaces: strings.Repeat("é", 129)},
		"a report's key":         {Replaces: "report-2"},
		"any report's key":       {Replaces: "report-"},
		"nearly a report's key":  {Replaces: "reports", Good: true},
		"a report's in capitals": {Replaces: "Report-2", Good: true},

		"a second":          {ExpiresIn: new(int64(1)), Good: true},
		"a year":            {ExpiresIn: new(int64(31_536_000)), Good: true},
		"no time":           {ExpiresIn: new(int64(0))},
		"time that is gone": {ExpiresIn: new(int64(-1))},
		"beyond a year":     {ExpiresIn: new(int64(31_536_001))},

		"an object":             {Data: `{"a": [{"b": []}], "c": {}}`, Good: true},
		"an array as data":      {Data: `[1]`},
		"a string as data":      {Data: `"{}"`},
		"no data by null":       {Data: `null`, Good: true},
		"the largest double":    {Data: `{"a":1.7976931348623157e308,"b":-1.7976931348623157e308}`, Good: true},
		"a number beyond it":    {Data: `{"a":1e400}`},
		"below it":              {Data: `{"a":[{"b":-1e309}]}`},
		"beyond it, in digits":  {Data: `{"a":1` + strings.Repeat("0", 309) + `}`},
		"300 digits":            {Data: `{"a":1` + strings.Repeat("0", 300) + `}`, Good: true},
		"a number in a string":  {Data: `{"1e400":"1e400"}`, Good: true},
		"nearly nothing":        {Data: `{"a":1e-400}`, Good: true},
		"4096 bytes":            {Data: `{"a":"` + strings.Repeat("x", 4096-8) + `"}`, Good: true},
		"4097 bytes":            {Data: `{"a":"` + strings.Repeat("x", 4096-7) + `"}`},
		"4095 bytes of list":    {Data: `{"a":[` + strings.Repeat("1,", 2043) + `1]}`, Good: true},
		"4097 bytes of list":    {Data: `{"a":[` + strings.Repeat("1,", 2044) + `1]}`},
		"31 levels":             {Data: strings.Repeat(`{"a":`, 31) + `1` + strings.Repeat("}", 31), Good: true},
		"32 levels":             {Data: strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat("}", 32)},
		"32 levels with arrays": {Data: `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`},
		"brackets in a string":  {Data: `{"a":"` + strings.Repeat("[", 40) + `\"{"}`, Good: true},
		"a NUL in data":         {Data: `{"a":"\u0000"}`},
		"an escaped escape":     {Data: `{"a":"\\u0000"}`, Good: true},
	}
	for name, blank := range map[string]string{
		"a space": " ", "a tab": "\t", "a line": "\n", "a vertical tab": "\v", "a form feed": "\f", "a return": "\r", "a next line": "\u0085",
		"a no-break space": "\u00a0", "an Ogham space": "\u1680", "an en quad": "\u2000", "an em space": "\u2003", "a hair space": "\u200a",
		"a line separator": "\u2028", "a paragraph separator": "\u2029", "a narrow no-break space": "\u202f",
		"a mathematical space": "\u205f", "an ideographic space": "\u3000",
	} {
		cases["only "+name+" as title"] = Case{Title: blank + blank}
		cases["only "+name+" as message"] = Case{Message: " " + blank}
	}
	for name, c := range cases {
		if c.User == "" {
			c.User = "7"
		}
		if c.Title == "" {
			c.Title = "t"
		}
		if c.Message == "" {
			c.Message = "m"
		}
		if c.Kind == "" {
			c.Kind = "message"
		}
		cases[name] = c
	}
	return cases
}
