package redis

import (
	"maps"
	"slices"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
)

// interest is the set of users whose hints this node wants. A change only marks the user; one
// goroutine drains the marked users and subscribes, so that a thousand changes of one user cost
// one command.
type interest struct {
	mu      sync.Mutex
	watched map[bridge.UserID]struct{}
	changed map[bridge.UserID]struct{} // since the last drain
	wake    chan struct{}
}

func (i *interest) init() {
	i.watched = make(map[bridge.UserID]struct{})
	i.changed = make(map[bridge.UserID]struct{})
	i.wake = make(chan struct{}, 1)
}

func (i *interest) set(u bridge.UserID, wanted bool) {
	i.mu.Lock()
	if wanted {
		i.watched[u] = struct{}{}
	} else {
		delete(i.watched, u)
	}
	i.changed[u] = struct{}{}
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// all returns every watched user and clears the marks.
func (i *interest) all() []bridge.UserID {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changed = make(map[bridge.UserID]struct{})
	return slices.Collect(maps.Keys(i.watched))
}

// drain returns the users that changed since the last call, with whether they are watched now.
func (i *interest) drain() map[bridge.UserID]bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.changed) == 0 {
		return nil
	}
	now := make(map[bridge.UserID]bool, len(i.changed))
	for u := range i.changed {
		_, now[u] = i.watched[u]
	}
	i.changed = make(map[bridge.UserID]struct{})
	return now
}
