package redis

import (
	"maps"
	"slices"
	"sync"

	"github.com/falconalert/falconbridge/bridge"
)

// interest is the set of users whose hints this node wants. A change of the set only marks the
// user. One goroutine drains the marked users and subscribes or unsubscribes, so that a thousand
// changes of one user cost one command.
type interest struct {
	mu      sync.Mutex
	watched map[bridge.UserID]struct{}
	changed map[bridge.UserID]struct{} // the marked users
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

// allWatched returns every watched user and clears the marks.
func (i *interest) allWatched() []bridge.UserID {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changed = make(map[bridge.UserID]struct{})
	return slices.Collect(maps.Keys(i.watched))
}

// drain returns the marked users, with whether each of them is watched now, and clears the marks.
func (i *interest) drain() map[bridge.UserID]bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.changed) == 0 {
		return nil
	}
	wanted := make(map[bridge.UserID]bool, len(i.changed))
	for u := range i.changed {
		_, wanted[u] = i.watched[u]
	}
	i.changed = make(map[bridge.UserID]struct{})
	return wanted
}
