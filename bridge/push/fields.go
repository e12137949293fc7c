package push

import (
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func linkOf(*bridge.Notification) string      { return "" }
func replacesOf(*bridge.Notification) string  { return "" }
func expiryOf(*bridge.Notification) time.Time { return time.Time{} }
