package fakeclock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheClockOfABubbleMovesByTheGivenTime(t *testing.T) {
	for name, move := range map[string]func(time.Duration){"Advance": Advance, "Spend": Spend} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				move(time.Hour)
				if took := time.Since(begun); took != time.Hour {
					t.Errorf("the clock moved by %v, want 1h", took)
				}
			})
		})
	}
}

// A test that forgets its bubble must fail at once instead of waiting for the machine's clock.
func TestTheMachinesClockIsRefused(t *testing.T) {
	for name, move := range map[string]func(time.Duration){"Advance": Advance, "Spend": Spend} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it waited")
				}
			}()
			move(time.Millisecond)
		})
	}
	Spend(0) // a fake that is not slow
}
