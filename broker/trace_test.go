package broker

import (
	"context"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

const testTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceparentIsSentLiveToMQTT5AndNotInAReplay(t *testing.T) {
	w := newWorld(t, Options{})
	post := func() {
		t.Helper()
		ctx := bridge.WithTraceparent(context.Background(), testTrace)
		if _, err := w.svc.Notify(ctx, bridge.Draft{User: "7", Title: "T", Message: "M"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		at     endpoint
		props  []byte
		traced bool
	}{
		"MQTT 5":       {endpoint{"tcp", 5}, nil, true},
		"WebSocket":    {endpoint{"ws", 5}, nil, true},
		"MQTT 3.1.1":   {endpoint{"tcp", 4}, nil, false},
		"small device": {endpoint{"tcp", 5}, []byte{propMaxPacket, 0, 0, 0, 250}, false}, // large enough only without the traceparent
	} {
		t.Run(name, func(t *testing.T) {
			d := w.loginAs(tt.at, connect{id: name, token: "7", clean: true, props: tt.props})
			options, ack := byte(0x20), "90 04 00 09 00 00" // no retained copy
			if tt.at.version == 4 {
				options, ack = 0, "90 03 00 09 00"
			}
			d.send(subscribe(tt.at.version, 9, options, nil, topic7))
			d.expect(ack)
			post()
			m := d.expectMessage()
			for m.head&1 != 0 { // the retained copy of 3.1.1
				m = d.expectMessage()
			}
			if got := strings.Contains(m.props, "traceparent") && strings.Contains(m.props, testTrace); got != tt.traced {
				t.Errorf("traced %v: properties %q", got, m.props)
			}
		})
	}
	d := w.login(endpoint{"tcp", 5}, "late", "7")
	d.send(subscribe(5, 9, 0x20, sinceProperty("0"), topic7))
	d.expect("90 04 00 09 00 00")
	if m := d.expectMessage(); strings.Contains(m.props, "traceparent") {
		t.Errorf("a replay is traced: %q", m.props)
	}
}

// A notification that supersedes others is always read from the log.
func TestATraceparentIsSentWithWhatIsReadFromTheLog(t *testing.T) {
	w := newWorld(t, Options{})
	own := w.login(endpoint{"tcp", 5}, "device", "7")
	own.send(subscribe(5, 9, 0x20, nil, topic7))
	own.expect("90 04 00 09 00 00")
	ctx := bridge.WithTraceparent(context.Background(), testTrace)
	if _, err := w.svc.Notify(ctx, bridge.Draft{User: "7", Title: "T", Message: "M", Replaces: "key"}, nil); err != nil {
		t.Fatal(err)
	}
	if m := own.expectMessage(); !strings.Contains(m.props, testTrace) {
		t.Errorf("no trace in %q", m.props)
	}
}
