package broker

import (
	"testing"
)

const topic7 = "users/7/reports/status"

func TestDeliversToTheDevice(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at place) {
		w.notify("7", "before")
		d := w.login(at, "phone", "7")
		d.subscribe(1, []byte{1}, topic7)
		m := d.expectMessage()
		if m.head != 0x33 || m.topic != topic7 || m.id <= 49152 {
			t.Fatalf("the retained copy is %+v", m)
		}
		w.notify("7", "live", "again")
		for seq := 2; seq <= 3; seq++ {
			m = d.expectMessage()
			if m.head != 0x32 || m.id != seq {
				t.Fatalf("message %d is %+v", seq, m)
			}
			d.ack(m)
		}
		d.alive()
	})
}
