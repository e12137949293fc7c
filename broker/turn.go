package broker

import "time"

// turns let so many devices use the database at once, and the others wait for
// theirs, first come first served. Without them thousands of devices that come back
// in one moment would all stand in line for the database's connections, and time
// out there, they and everybody else's history with them.
type turns struct {
	places  chan struct{}
	longest time.Duration
	stop    <-chan struct{} // closed when nobody waits any more
}

func newTurns(places int, longest time.Duration, stop <-chan struct{}) *turns {
	return &turns{places: make(chan struct{}, places), longest: longest, stop: stop}
}

// take waits for a turn; false where it did not come. A turn is given back with done.
func (t *turns) take() bool {
	select {
	case t.places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(t.longest)
	defer timer.Stop()
	select {
	case t.places <- struct{}{}:
		return true
	case <-timer.C:
	case <-t.stop:
	}
	return false
}

func (t *turns) done() { <-t.places }
