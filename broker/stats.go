package broker

import "sync/atomic"

// counters count what the broker does.
type counters struct {
	accepted, logins, ended, panics, acceptErrors, turnedAway atomic.Int64
	bytesIn, bytesOut                                         atomic.Int64
	refused                                                   [256]atomic.Int64 // by the MQTT 5 reason code of the CONNACK
	limited                                                   [limits]atomic.Int64
}

// Stats are the broker's counters since it was made.
type Stats struct {
	Connections  int64           // logged in now
	Pending      int64           // sockets before login now
	Accepted     int64           // sockets accepted, including WebSocket upgrades
	Logins       int64           // CONNECTs accepted
	Refused      map[byte]int64  // CONNECTs refused, by MQTT 5 reason code
	Limited      map[Limit]int64 // how often each limit was exceeded; has every limit
	TurnedAway   int64           // sockets closed because too many were before login, or the broker was draining
	Ended        int64           // connections ended by the server after login
	Panics       int64           // panics, each of which ended one connection
	AcceptErrors int64           // failed calls of accept
	BytesIn      int64           // MQTT bytes, without WebSocket and TLS framing
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
