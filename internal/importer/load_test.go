package importer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

func TestAFailedPartIsRetriedInSmallerParts(t *testing.T) {
	t.Parallel()
	ignore := func(string, int, int) {}
	var sizes []int
	fail := true
	added, err := loadAll(t.Context(), ignore, "things", make([]int, 600), func(_ context.Context, part []int) (int, error) {
		sizes = append(sizes, len(part))
		if fail {
			fail = false
			return 0, fmt.Errorf("store: %w", bridge.ErrUnavailable)
		}
		return len(part), nil
	})
	if err != nil || added != 600 || fmt.Sprint(sizes) != "[500 250 250 100]" {
		t.Errorf("added %d in %v, %v", added, sizes, err)
	}
	conflict := errors.New("of another")
	if _, err := loadAll(t.Context(), ignore, "things", []int{1}, func(context.Context, []int) (int, error) { return 0, conflict }); !errors.Is(err, conflict) {
		t.Errorf("another error: %v", err)
	}
}
