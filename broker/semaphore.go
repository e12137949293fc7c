package broker

import (
	"container/list"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// semaphore lets a number of devices use the database at once; the others wait. A
// free slot goes to the user who has waited longest since the last one: each user's
// devices queue behind each other, not before everybody else's. So 96 connections of
// six users delay a seventh user by six slots, not by 96.
//
// Without it thousands of devices that reconnect in one moment would queue for the
// database's connections and time out there, together with everybody's history.
type semaphore struct {
	maxWait time.Duration
	stop    <-chan struct{} // closed: waiting ends

	mu       sync.Mutex
	free     int
	queues   map[bridge.UserID]*queue // of users with waiting devices
	rotation list.List                // the queues, next first
}

// queue is one user's waiting devices, each a *waiter.
type queue struct {
	user    bridge.UserID
	waiters list.List
	elem    *list.Element // in rotation
}

type waiter struct {
	queue    *queue
	acquired chan struct{} // closed with the slot
}

func newSemaphore(slots int, longest time.Duration, stop <-chan struct{}) *semaphore {
	return &semaphore{free: slots, maxWait: longest, stop: stop, queues: make(map[bridge.UserID]*queue)}
}

// acquire waits for a slot for u. It returns false where none came within the longest
// wait or before the broker drains; otherwise the slot is returned with release.
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
	case <-w.acquired: // in the same moment
		return true
	default:
		s.dequeueLocked(w.queue, e)
		return false
	}
}

// enqueue takes a free slot and returns nil, or puts a waiter at the end of u's queue.
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

func (s *semaphore) dequeueLocked(q *queue, e *list.Element) {
	if q.waiters.Remove(e); q.waiters.Len() == 0 {
		delete(s.queues, q.user)
		s.rotation.Remove(q.elem)
	}
}

// release hands the slot to the next user's first waiter.
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
