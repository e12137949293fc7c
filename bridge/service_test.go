package bridge

import (
	"context"
	"slices"
	"testing"
)

// heard is a hub and a bus that record the hints they get.
type heard struct{ here, elsewhere []Hint }

func (h *heard) Hint(hint Hint)        { h.here = append(h.here, hint) }
func (h *heard) Publish(hints ...Hint) { h.elsewhere = append(h.elsewhere, hints...) }

func (h *heard) types(hints []Hint) (types []HintType) {
	for _, hint := range hints {
		types = append(types, hint.Type)
	}
	return types
}

// appending is a log that stores everything for user 7.
type appending struct{ last Seq }

func (a *appending) Append(_ context.Context, c Command) (r Result, _ error) {
	for _, d := range c.Drafts {
		a.last++
		r.Appended = append(r.Appended, Notification{User: d.User, Seq: a.last, ID: int64(a.last), Title: d.Title, Replaces: d.Replaces})
	}
	return r, nil
}

// changing is a history in which every change succeeds.
type changing struct{ History }

func (changing) Read(context.Context, UserID, int64) (int64, error)         { return 0, nil }
func (changing) Unread(context.Context, UserID, int64) (int64, error)       { return 1, nil }
func (changing) ReadUpTo(context.Context, UserID, Seq) (int64, bool, error) { return 0, true, nil }
func (changing) Delete(context.Context, UserID, int64) error                { return nil }
func (changing) DeleteRead(context.Context, UserID) (bool, error)           { return true, nil }
func (changing) Withdraw(context.Context, UserID, string) (int64, error)    { return 1, nil }
func (changing) ChangeSettings(context.Context, UserID, SettingsChange) (Settings, bool, error) {
	return Settings{}, true, nil
}

// One notification of a batch may have superseded another. A device that connects between the
// two hints must not get the superseded one from memory.
func TestSupersedingNotificationsAreReadFromTheLog(t *testing.T) {
	h := &heard{}
	s := NewService(ServiceOptions{Log: &appending{}, Hub: h, Bus: h})
	drafts := []Draft{{User: "7", Title: "old", Message: "m", Replaces: "key"}, {User: "7", Title: "new", Message: "m", Replaces: "key"}}
	if _, err := s.NotifyAll(t.Context(), drafts, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := h.types(h.here), []HintType{HintMuted, HintAppended}; !slices.Equal(got, want) {
		t.Errorf("the hub got the hints %v, want %v", got, want)
	}
	for _, hint := range slices.Concat(h.here, h.elsewhere) {
		if len(hint.Items) > 0 {
			t.Errorf("hint %d has %d items, one of which is superseded", hint.Type, len(hint.Items))
		}
	}
	if got, want := h.types(h.elsewhere), []HintType{HintState, HintAppended}; !slices.Equal(got, want) {
		t.Errorf("the other nodes got the hints %v, want %v", got, want)
	}
	h.here = nil
	if _, err := s.Notify(t.Context(), Draft{User: "7", Title: "plain", Message: "m"}, nil); err != nil {
		t.Fatal(err)
	}
	if len(h.here) != 1 || len(h.here[0].Items) != 1 {
		t.Errorf("a notification that supersedes nothing has the hints %+v", h.here)
	}
}

// HintMuted announces a change of the state, too.
func TestEveryChangeOfAnInboxIsAnnouncedOnAllNodes(t *testing.T) {
	for name, call := range map[string]func(*Service) error{
		"read":           func(s *Service) error { _, err := s.Read(t.Context(), "7", 1); return err },
		"unread":         func(s *Service) error { _, err := s.Unread(t.Context(), "7", 1); return err },
		"all read":       func(s *Service) error { _, _, err := s.ReadUpTo(t.Context(), "7", 0); return err },
		"delete":         func(s *Service) error { return s.Delete(t.Context(), "7", 1) },
		"delete all":     func(s *Service) error { _, err := s.DeleteRead(t.Context(), "7"); return err },
		"withdraw":       func(s *Service) error { _, err := s.Withdraw(t.Context(), "7", "key"); return err },
		"mute or unmute": func(s *Service) error { _, _, err := s.ChangeSettings(t.Context(), "7", SettingsChange{}); return err },
	} {
		h := &heard{}
		if err := call(NewService(ServiceOptions{History: changing{}, Hub: h, Bus: h})); err != nil {
			t.Fatal(err)
		}
		for where, hints := range map[string][]Hint{"this node": h.here, "the others": h.elsewhere} {
			if len(hints) != 1 || hints[0].User != "7" || hints[0].Type != HintState && hints[0].Type != HintMuted {
				t.Errorf("%s: %s: hints %+v", name, where, hints)
			}
		}
	}
}
