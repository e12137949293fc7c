package api

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

// Tags and documents cannot refer to a constant, so this test compares them. Texts in the
// code are derived from the constants.
func TestNumbersInTextsAreTheConstants(t *testing.T) {
	for _, tt := range []struct {
		of         any
		field, tag string
		want       int
	}{
		{newNotification{}, "Title", "maxLength", bridge.MaxTitle},
		{newNotification{}, "Message", "maxLength", bridge.MaxMessage},
		{newNotification{}, "URL", "maxLength", bridge.MaxURL},
		{newNotification{}, "Replaces", "maxLength", bridge.MaxReplaces},
		{newNotifications{}, "Notifications", "maxItems", bridge.MaxBatch},
		{withdrawal{}, "Replaces", "maxLength", bridge.MaxReplaces},
		{newReport{}, "Title", "maxLength", bridge.MaxTitle},
		{PageQuery{}, "Kinds", "maxItems", bridge.MaxKinds},
		{PageQuery{}, "Limit", "maximum", bridge.MaxPage},
		{PageQuery{}, "Limit", "default", bridge.DefaultPage},
		{reportsQuery{}, "Limit", "maximum", bridge.MaxPage},
		{reportsQuery{}, "Limit", "default", bridge.DefaultPage},
		{connectionsQuery{}, "Limit", "maximum", bridge.MaxPage},
		{sessionsQuery{}, "Limit", "maximum", bridge.MaxPage},
		{auditQuery{}, "Limit", "maximum", bridge.MaxPage},
	} {
		f, ok := reflect.TypeOf(tt.of).FieldByName(tt.field)
		if got := f.Tag.Get(tt.tag); !ok || got != strconv.Itoa(tt.want) {
			t.Errorf("%T.%s has %s %q, but the constant is %d", tt.of, tt.field, tt.tag, got, tt.want)
		}
	}
	for _, of := range []any{newNotification{}, notificationBody{}} {
		f, _ := reflect.TypeOf(of).FieldByName("Data")
		if about, want := f.Tag.Get("doc"), "up to "+size(bridge.MaxData); !strings.Contains(about, want) {
			t.Errorf("%T.Data says %q, without %q", of, about, want)
		}
	}
	kind, _ := reflect.TypeFor[notificationBody]().FieldByName("Kind")
	for _, k := range bridge.BuiltInKinds() {
		if about := kind.Tag.Get("doc"); !strings.Contains(about, string(k)) {
			t.Errorf("the document says about a notification's kind %q, without %s", about, k)
		}
	}

	for file, texts := range map[string][]string{
		"configuration.md": {
			fmt.Sprintf("| request bodies | %s, a batch %s,", size(MaxBody), size(MaxBatchBody)),
			fmt.Sprintf("%s for all bodies over %s together", size(maxBodies), size(firstBody)),
			fmt.Sprintf("%d sessions and %d registrations", bridge.MaxSessions, bridge.MaxRegistrations),
		},
		"architecture.md": {
			fmt.Sprintf("| %d connections per node |", bridge.DefaultConnectionsPerUser),
			fmt.Sprintf("| %d stored sessions |", bridge.MaxSessions),
			fmt.Sprintf("| %d registrations for Web Push |", bridge.MaxRegistrations),
		},
		"push.md":       {fmt.Sprintf("at most %d registrations", bridge.MaxRegistrations)},
		"scaling.md":    {fmt.Sprintf("at most %d a user", bridge.MaxSessions)},
		"guarantees.md": {fmt.Sprintf("At most %d devices per user have a session", bridge.MaxSessions)},
	} {
		b, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if !strings.Contains(string(b), text) {
				t.Errorf("docs/%s does not say %q: change it with the constant", file, text)
			}
		}
	}
}
