package broker

import (
	"container/list"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// semaphore limits how many devices use the database at once. When a node restarts,
// thousands of devices reconnect at the same moment. Without a limit they would all queue
// for the database's connections and time out there, along with requests for history.
//
// It is fair between users, not between devices: a free slot goes to the user whose turn is
// next in rotation, and the devices of one user queue behind each other. So 96 connections
// of six users delay a seventh user by six slots, not by 96.
type semaphore struct {
	maxWait time.Duration
	stop    <-chan struct{} // closed when the broker drains: ends every wait

	mu       sync.Mutex
	free     int
	queues   map[bridge.UserID]*queue // only users with waiting devices
	rotation list.List                // the queues; the first gets the next slot
}

// queue is the waiting devices of one user.
type queue struct {
	user    bridge.UserID
	waiters list.List     // of *waiter
	elem    *list.Element // in rotation
}

type waiter struct {
	queue    *queue
	acquired chan struct{} // closed when it has got a slot
}

func newSemaphore(slots int, longest time.Duration, stop <-chan struct{}) *semaphore {
	return &semaphore{free: slots, maxWait: longest, stop: stop, queues: make(map[bridge.UserID]*queue)}
}

// acquire waits for a slot for u. It returns false if there was none within maxWait or the
// broker began to drain. After true the caller must call release.
func (s *semaphore) acquire(u bridge.UserID) bool {
	w, e := s.enqueue(u)
	if w == nil {
		return true
	}
	timer := time.NewTimer(s.maxWait)
	defer timer.Stop()
	select {
	case <-w.acquired:
		return true
	case <-timer.C:
	case <-s.stop:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.acquired: // at the same moment
		return true
	default:
		s.dequeueLocked(w.queue, e)
		return false
	}
}

// enqueue takes a free slot and returns nil, or adds a waiter to the end of u's queue and
// returns it with its element there.
func (s *semaphore) enqueue(u bridge.UserID) (*waiter, *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 {
		s.free--
		return nil, nil
	}
	q := s.queues[u]
	if q == nil {
		q = &queue{user: u}
		q.elem = s.rotation.PushBack(q)
		s.queues[u] = q
	}
	w := &waiter{q, make(chan struct{})}
	return w, q.waiters.PushBack(w)
}

// dequeueLocked removes the waiter e from q, and q if it was the last one.
func (s *semaphore) dequeueLocked(q *queue, e *list.Element) {
	if q.waiters.Remove(e); q.waiters.Len() == 0 {
		delete(s.queues, q.user)
		s.rotation.Remove(q.elem)
	}
}

// release frees a slot, or hands it to the first waiter of the next user.
func (s *semaphore) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.rotation.Front()
	if next == nil {
		s.free++
		return
	}
	q := next.Value.(*queue)
	s.rotation.MoveToBack(next)
	first := q.waiters.Front()
	close(first.Value.(*waiter).acquired)
	s.dequeueLocked(q, first)
}
