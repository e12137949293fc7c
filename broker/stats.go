package broker

import "sync/atomic"

// counters count what the broker does.
type counters struct {
	accepted, logins, ended, panics, acceptErrors, turnedAway atomic.Int64
	bytesIn, bytesOut                                         atomic.Int64
	refused                                                   [256]atomic.Int64 // by MQTT 5 CONNACK code
	limited                                                   [limits]atomic.Int64
}

// Stats are the broker's counters since the start.
type Stats struct {
	Connections  int64           // logged in now
	Pending      int64           // sockets before login now
	Accepted     int64           // sockets accepted, WebSocket upgrades included
	Logins       int64           // CONNECTs granted
	Refused      map[byte]int64  // CONNECTs refused, by MQTT 5 reason code
	Limited      map[Limit]int64 // refusals by the limit that was hit; every limit is there
	TurnedAway   int64           // sockets closed because there were too many before login
	Ended        int64           // connections ended by the server after login
	Panics       int64           // packets that made the engine panic
	AcceptErrors int64
	BytesIn      int64 // MQTT bytes, without WebSocket and TLS framing
	BytesOut     int64
}

// Stats returns the counters.
func (b *Broker) Stats() Stats {
	c := &b.count
	s := Stats{
		Accepted: c.accepted.Load(), Logins: c.logins.Load(), TurnedAway: c.turnedAway.Load(),
		Ended: c.ended.Load(), Panics: c.panics.Load(), AcceptErrors: c.acceptErrors.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Refused: make(map[byte]int64),
	}
	for code := range c.refused {
		if n := c.refused[code].Load(); n > 0 {
			s.Refused[byte(code)] = n
		}
	}
	s.Limited = make(map[Limit]int64, limits)
	for l := range c.limited {
		s.Limited[Limit(l)] = c.limited[l].Load()
	}
	s.Connections, s.Pending = b.admission.counts()
	return s
}
