package inproc_test

import (
	"testing"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/inproc"
)

func TestContract(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Fixture {
		var x inproc.Exchange
		return bustest.Fixture{Join: func(node string) bridge.Bus { return x.Join(node) }}
	})
}

func TestASingleNodeIsReadyAndSendsNothing(t *testing.T) {
	b := inproc.New()
	b.Publish(bridge.Hint{User: "7"})
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
	if s := b.Stats(); s.Sent != 0 || s.Dropped != 0 {
		t.Errorf("stats are %+v", s)
	}
}
