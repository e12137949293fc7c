package bridge

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxReplaces is the most characters of the key in [Draft.Replaces].
const MaxReplaces = 128

// reservedReplaces is the beginning of the keys that [ReplacesReport] returns.
const reservedReplaces = "report-"

// ReplacesReport returns the key with which the status notifications of a report supersede each
// other.
func ReplacesReport(report int64) string { return fmt.Sprintf("%s%d", reservedReplaces, report) }

// CheckReplaces checks a key that an application chose: 1 to MaxReplaces characters.
// Those that begin with "report-" belong to reports.
func CheckReplaces(s string) error {
	switch {
	case s == "" || utf8.RuneCountInString(s) > MaxReplaces:
		return fmt.Errorf("must have 1 to %d characters", MaxReplaces)
	case !utf8.ValidString(s):
		return errors.New("must be valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("must not contain a NUL character")
	case strings.HasPrefix(s, reservedReplaces):
		return errors.New(`must not begin with "report-", which is reserved`)
	}
	return nil
}
