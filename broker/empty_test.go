package broker

import "testing"

func TestAnEmptyPasswordWithATokenAsUsername(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.dial(at)
		d.send(packetOf(t, map[byte]string{4: "10 'MQTT' 04 C2 003C 'a' '7' 0000", 5: "10 'MQTT' 05 C2 003C 00 'a' '7' 0000"}[at.version]))
		d.expectConnack(0)
		d.alive()
	})
}
