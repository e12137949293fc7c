package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// drainGap is the longest pause between two devices' disconnects: other nodes take 50
// logins a second without noticing, so a few devices need no long drain.
const drainGap = 20 * time.Millisecond

// Drain stops listening and ends every connection: sockets before login at once,
// devices with DISCONNECT 0x8B, spread evenly over at most the time given so that they
// do not all come to the other nodes in one moment. It returns when all are gone, or
// closes what is left when ctx ends, and says so. Calling it twice is harmless.
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

// Close ends everything at once, without a DISCONNECT, and waits until every connection is gone.
func (b *Broker) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.stop()
	_ = b.wait(ctx)
	return nil
}

// stop refuses further connections and closes the listeners.
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

// wait returns when every connection is gone; when ctx ends first it closes them.
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
	cut := append(connected, others...)
	for _, c := range cut {
		c.close()
	}
	<-done
	return fmt.Errorf("drain: %d connections were cut: %w", len(cut), ctx.Err())
}
