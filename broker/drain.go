package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// drainGap is the longest pause between the disconnects of two devices. Other nodes handle
// 50 logins a second with ease, so the drain of a few devices need not take all the time
// that Drain is given.
const drainGap = 20 * time.Millisecond

// Drain stops listening and ends every connection. Sockets before login are closed at
// once. Devices get DISCONNECT 0x8B, spread evenly over at most over, so that they do not
// all reconnect to the other nodes at the same moment. Drain returns nil when every
// connection has ended. If ctx ends first it closes the remaining ones and returns an
// error with their number. It may be called again.
func (b *Broker) Drain(ctx context.Context, over time.Duration) error {
	connected, others := b.stop()
	for _, c := range others {
		c.close()
	}
	begun := time.Now()
	over = min(over, drainGap*time.Duration(len(connected)))
	for i, c := range connected {
		due := begun.Add(over * time.Duration(i) / time.Duration(len(connected)))
		if wait := time.Until(due); wait > time.Millisecond {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			break
		}
		c.End(bridge.EndDrain)
	}
	return b.wait(ctx)
}

// Close closes all listeners and connections at once, without a DISCONNECT, and waits
// until every connection has ended.
func (b *Broker) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.stop()
	_ = b.wait(ctx)
	return nil
}

// stop closes the listeners and refuses further connections. It returns the remaining
// connections: those that are logged in, and the others.
func (b *Broker) stop() (connected, others []*conn) {
	b.mu.Lock()
	b.draining = true
	for l := range b.listeners {
		delete(b.listeners, l)
		_ = l.Close()
	}
	b.mu.Unlock()
	b.stopWaiting()
	return b.admission.close()
}

// wait waits until every connection has ended, and closes the remaining ones when ctx ends.
func (b *Broker) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.running.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	connected, others := b.admission.close()
	rest := append(connected, others...)
	for _, c := range rest {
		c.close()
	}
	<-done
	return fmt.Errorf("drain: %d connections had to be closed: %w", len(rest), ctx.Err())
}
