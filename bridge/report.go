package bridge

import "time"

// Status is the status of a report in moderation.
type Status int

// The statuses of FalconAlert.
const (
	Pending  Status = 1
	Approved Status = 2
	Rejected Status = 3
)

// Valid reports whether s is one of the known statuses.
func (s Status) Valid() bool { return s >= Pending && s <= Rejected }

// Report is a fraud report.
type Report struct {
	ID        int64     `json:"id"`
	Title     string    `json:"title"`
	User      UserID    `json:"created_by"`
	Status    Status    `json:"status_id"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NewReport is a report before it is stored.
type NewReport struct {
	ID     int64 // 0: the database gives one
	Title  string
	User   UserID
	Status Status // 0 means Pending
}

// Check returns r with its defaults set, or an [*InvalidError] with all faults.
func (r NewReport) Check() (NewReport, error) {
	var bad InvalidError
	if r.User == "" {
		bad.Add("body.created_by", "is required")
	} else if _, err := ParseUserID(string(r.User)); err != nil {
		bad.Add("body.created_by", err.Error())
	}
	checkText(&bad, "body.title", r.Title, MaxTitle)
	if r.ID < 0 || r.ID > maxSafeInteger {
		bad.Add("body.id", "must be an integer from 1 to 2^53-1")
	}
	if r.Status == 0 {
		r.Status = Pending
	}
	if !r.Status.Valid() {
		bad.Add("body.status_id", "must be 1, 2 or 3")
	}
	return r, bad.Err()
}

// StatusChange sets the status of a report. Its notification is appended in the same
// transaction. Title and User are those of the report, as read before the transaction, which
// checks them again. They never change, so the text of the notification can be made before
// the transaction begins.
type StatusChange struct {
	Report int64
	Status Status
	Title  string
	User   UserID
}
