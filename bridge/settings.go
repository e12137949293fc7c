package bridge

// SettingReviewEnabled is the JSON name of the one setting users have today.
const SettingReviewEnabled = "is_review_enabled"

// Settings are one user's choices. The zero value is not the default: a user
// who never chose has [DefaultSettings].
type Settings struct {
	// ReviewEnabled false mutes: notifications are stored, but neither listed
	// nor delivered nor retained.
	ReviewEnabled bool
}

// DefaultSettings are those of a user who never chose.
func DefaultSettings() Settings { return Settings{ReviewEnabled: true} }
