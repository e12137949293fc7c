package bus_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

const testTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestHintsDecodeToWhatWasEncoded(t *testing.T) {
	hints := []bridge.Hint{
		{Type: bridge.HintAppended, User: "7", Seq: 12, Node: "a"},
		{Type: bridge.HintAppended, User: "8", Seq: 12, Node: "a", Traceparent: testTrace, From: 11},
		{Type: bridge.HintAppended, Node: "a"},
		{Type: bridge.HintMuted, User: "abc", Node: "a"},
		{Type: bridge.HintTakeover, User: "007", ClientID: `"\` + "\n✓", Gen: 1<<62 + 1, Node: "a"},
		{Type: bridge.HintEnd, User: "9007199254740993", Node: "a"},
		{Type: bridge.HintState, User: "7", Node: "a"},
	}
	sent := append([]bridge.Hint{}, hints...)
	sent[0].Items, sent[0].At = []bridge.Notification{{ID: 1, Title: "secret"}}, time.Now()
	messages := bus.Encode("a", append(sent, bridge.Hint{Type: 99, User: "7"}), 8000)
	if len(messages) != 1 || strings.Contains(string(messages[0]), "secret") {
		t.Fatalf("messages are %q", messages)
	}
	m, err := bus.Decode(messages[0])
	if err != nil || m.Node != "a" || m.All || !reflect.DeepEqual(m.Hints, hints) {
		t.Errorf("read %+v, error %v, want %+v", m, err, hints)
	}
}

// Nodes of other versions use the format, and the migrations write it.
func TestTheWireFormat(t *testing.T) {
	got := bus.Encode("a", []bridge.Hint{{Type: bridge.HintTakeover, User: "7", ClientID: "c", Gen: 5}, {Type: bridge.HintEnd, User: "x"}}, 8000)
	want := `{"n":"a","h":[{"t":"t","u":7,"c":"c","g":5},{"t":"e","u":"x"}]}`
	if len(got) != 1 || string(got[0]) != want {
		t.Errorf("encoded as %q, want %q", got, want)
	}
	for text, want := range map[string]bus.Message{
		`{"n" : "a", "u" : [["7", 3], [8, 4]]}`: {Node: "a", Hints: []bridge.Hint{
			{Type: bridge.HintAppended, User: "7", Seq: 3, Node: "a"}, {Type: bridge.HintAppended, User: "8", Seq: 4, Node: "a"}}},
		`{"n":"","h":[{"t":"s","u":"7"}]}`: {Hints: []bridge.Hint{{Type: bridge.HintState, User: "7"}}},
		`{"n" : "a", "h" : [{"t" : "a", "u" : "7", "s" : 3, "f" : 2, "p" : "` + testTrace + `"}]}`: {Node: "a", Hints: []bridge.Hint{
			{Type: bridge.HintAppended, User: "7", Seq: 3, Node: "a", Traceparent: testTrace, From: 2}}},
		`{"n" : "", "all" : true}`:                            {All: true},
		`{"n":"a","h":[{"t":"new","u":"7"}],"another":[1,2]}`: {Node: "a"},
	} {
		if m, err := bus.Decode([]byte(text)); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s is decoded as %+v, error %v", text, m, err)
		}
	}
}

// Any client that can reach the bus's server may publish a hint, and a traceparent is forwarded to
// devices unchanged. Therefore an invalid one is dropped, while the hint itself still wakes devices.
func TestAForgedTraceparentReachesNoDevice(t *testing.T) {
	for name, forged := range map[string]string{
		"text":            `"f":1,"p":"<script>"`,
		"a longer one":    `"f":1,"p":"` + testTrace + `-and more"`,
		"another version": `"f":1,"p":"ff` + testTrace[2:] + `"`,
		"no range":        `"p":"` + testTrace + `"`,
		"an empty range":  `"f":4,"p":"` + testTrace + `"`,
		"before the log":  `"f":-1,"p":"` + testTrace + `"`,
	} {
		m, err := bus.Decode([]byte(`{"n":"b","h":[{"t":"a","u":"7","s":3,` + forged + `}]}`))
		want := bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 3, Node: "b"}
		if err != nil || len(m.Hints) != 1 || !reflect.DeepEqual(m.Hints[0], want) {
			t.Errorf("%s: decoded as %+v, error %v", name, m.Hints, err)
		}
	}
}

func TestMessagesStayBelowTheLimit(t *testing.T) {
	const limit = 500
	var hints []bridge.Hint
	for i := range 200 {
		hints = append(hints, bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: strings.Repeat(`"`, i%60), Gen: int64(i)})
	}
	tooLong := bridge.Hint{Type: bridge.HintTakeover, User: "7", ClientID: strings.Repeat("x", limit)}
	read := 0
	for _, m := range bus.Encode("node", append(hints, tooLong), limit) {
		if len(m) > limit {
			t.Errorf("a message has %d bytes", len(m))
		}
		got, err := bus.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range got.Hints {
			if h.Gen != int64(read) {
				t.Fatalf("hint %d is decoded as hint %d", read, h.Gen)
			}
			read++
		}
	}
	if read != len(hints) {
		t.Errorf("%d of %d hints were encoded", read, len(hints))
	}
}

type handler struct{ hints, reconnected int }

func (h *handler) Hint(bridge.Hint) { h.hints++ }
func (h *handler) Reconnected()     { h.reconnected++ }

func TestDeliverIgnoresTheNodesOwnMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		message            string
		hints, reconnected int
	}{
		"another node's":         {`{"n":"b","h":[{"t":"m","u":"7"}]}`, 1, 0},
		"its own":                {`{"n":"a","h":[{"t":"m","u":"7"}]}`, 0, 0},
		"an application's":       {`{"n":"","u":[["7",1],["8",1]]}`, 2, 0},
		"all, another's":         {`{"n":"b","all":true}`, 0, 1},
		"all, its own":           {`{"n":"a","all":true}`, 0, 0},
		"as Postgres formats it": {`{"n" : "a", "u" : [["7", 1]]}`, 0, 0},
		"a longer name":          {`{"n":"ab","u":[["7",1]]}`, 1, 0},
		"a name with a blank":    {`{"n":" a","u":[["7",1]]}`, 1, 0},
		"its own, name last":     {`{"u":[["7",1]],"n":"a"}`, 0, 0},
		"no pairs":               {`{"n":"b","u":[["7",1,2]]}`, 0, 0},
		"pairs of a user only":   {`{"n":"b","u":[["7"]]}`, 0, 0},
		"pairs with a fraction":  {`{"n":"b","u":[["7",1.5]]}`, 0, 0},
		"objects for pairs":      {`{"n":"b","u":[{"u":"7","s":1}]}`, 0, 0},
		"garbage":                {`{"n":`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := &handler{}
			n := bus.Deliver([]byte(tt.message), "a", h)
			if n != tt.hints || h.hints != tt.hints || h.reconnected != tt.reconnected {
				t.Errorf("%d hints and %d wakes", h.hints, h.reconnected)
			}
		})
	}
}

// FuzzDeliver decodes what any client may publish. Nothing panics, and every name is a valid user
// id.
func FuzzDeliver(f *testing.F) {
	for _, s := range []string{`{"n":"b","h":[{"t":"t","u":7,"c":"c","g":5}]}`, `{"n":"b","u":[["7",1]]}`, `{"n":"b","all":true}`, "null", "[[[["} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := bus.Decode(b)
		if err != nil {
			return
		}
		for _, h := range m.Hints {
			if _, err := bridge.ParseUserID(string(h.User)); err != nil && (h.User != "" || h.Type != bridge.HintAppended) {
				t.Errorf("%q names the user %q", b, h.User)
			}
			if h.Items != nil || h.Node != m.Node {
				t.Errorf("%q is decoded as %+v", b, h)
			}
		}
	})
}

// BenchmarkDeliverOwn measures what a node spends on a message that it sent itself.
func BenchmarkDeliverOwn(b *testing.B) {
	message := []byte(`{"n" : "node", "u" : [["bench-0", 1]` + strings.Repeat(`, ["bench-123", 4567]`, 63) + `]}`)
	b.ReportAllocs()
	for b.Loop() {
		if bus.Deliver(message, "node", &handler{}) != 0 {
			b.Fatal("it was delivered")
		}
	}
}

// BenchmarkDecode measures what every other node spends on a message with hints of 64 users.
func BenchmarkDecode(b *testing.B) {
	message := []byte(`{"n" : "node", "u" : [["bench-0", 1]` + strings.Repeat(`, ["bench-123", 4567]`, 63) + `]}`)
	b.ReportAllocs()
	for b.Loop() {
		if m, err := bus.Decode(message); err != nil || len(m.Hints) != 64 {
			b.Fatal(err)
		}
	}
}
